"""How the 3-D picture looks: colours, materials and light, on screen and on paper."""

from __future__ import annotations

from dataclasses import dataclass

from vtkmodules.vtkRenderingCore import vtkActor, vtkLight, vtkRenderer

Colour = tuple[float, float, float]
"""Red, green and blue, each 0..1 (sRGB as shown)."""

BONE: Colour = (0.86, 0.83, 0.76)
FACE: Colour = (0.80, 0.60, 0.50)
AMBIENT = 0.10
"""Share of the light that comes from everywhere."""

BAND_COLOURS: tuple[Colour, ...] = (
    (0.000, 0.135, 0.305), (0.103, 0.220, 0.436), (0.264, 0.308, 0.423), (0.381, 0.395, 0.436),
    (0.489, 0.485, 0.471), (0.609, 0.580, 0.464), (0.736, 0.681, 0.424), (0.871, 0.790, 0.343),
    (0.996, 0.909, 0.218),
)  # fmt: skip
"""From none to most uncertain: cividis (Nuñez et al., PLoS ONE 2018), which those who see no red or
no green read as others do; lightness rises evenly."""


@dataclass(frozen=True)
class Look:
    """Colours of everything in the picture that is not the head.

    Attributes
    ----------
    background
        Behind the head.
    ink
        Text and scale bar.
    quiet_ink
        Text of lesser weight.
    """

    background: Colour
    ink: Colour
    quiet_ink: Colour


SCREEN = Look((0.145, 0.150, 0.160), (0.87, 0.88, 0.90), (0.60, 0.62, 0.65))
PAPER = Look((0.93, 0.93, 0.925), (0.10, 0.10, 0.11), (0.32, 0.33, 0.35))


def set_material(actor: vtkActor) -> None:
    """Give an actor a dry, matt surface: shape is read from shading, not from highlights."""
    surface = actor.GetProperty()
    surface.SetInterpolationToPhong()
    surface.SetAmbient(AMBIENT)
    surface.SetDiffuse(0.88)
    surface.SetSpecular(0.06)
    surface.SetSpecularPower(14)


def show_contours(actor: vtkActor) -> None:
    """Let a translucent surface grow denser where it turns away from the viewer.

    So the outline of a face stays readable over the skull while its middle lets the bone through;
    an opaque surface is left as it is.  (The share is the squared sine of the angle of view.)
    """
    actor.GetShaderProperty().AddFragmentShaderReplacement(
        "//VTK::Light::Impl",
        True,
        "//VTK::Light::Impl\n"
        "  float turned = 1.0 - normalVCVSOutput.z * normalVCVSOutput.z;\n"
        "  fragOutput0.a = min(1.0, fragOutput0.a * (1.0 + 1.2 * turned));\n",
        False,
    )


def add_lights(renderer: vtkRenderer) -> None:
    """Light the head from the viewer's upper left, softly filled: fixed to the camera."""
    renderer.AutomaticLightCreationOff()
    renderer.RemoveAllLights()
    for position, intensity in (
        ((-0.55, 0.75, 1.0), 0.82),
        ((0.9, 0.0, 0.7), 0.28),
        ((0.0, -0.6, 0.8), 0.12),
    ):
        light = vtkLight()
        light.SetLightTypeToCameraLight()
        light.SetPosition(*position)
        light.SetFocalPoint(0.0, 0.0, 0.0)
        light.SetIntensity(intensity)
        renderer.AddLight(light)
