"""What a reconstructed face is for and what it is not: the sentences on every export."""

INTENDED_USE = (
    "An investigative lead and one of many possible faces; never an identification. "
    "Ears, lip detail, hair and colour are not predicted. "
    "Not for living or de-identified persons."
)

LIMITS = (
    "The face is predicted from bone. Different faces can lie over the same bone; how far they "
    "may differ from this one is stated as a spread, in millimetres, at every point.",
    "Ears, hair, eyebrows, eye and skin colour, skin texture, scars, lip detail and expression "
    "are not predicted. Anything of the kind in a picture made from this mesh was added.",
    "Agreement with a photograph is not evidence of identity. An identification rests on DNA, "
    "dental, medical or fingerprint comparison.",
    "Damaged or displaced bone makes the face above it less certain than the stated spread. So "
    "does missing bone, but for the methods neural and template, which state a wider one there. "
    "The tables of this report say what was present.",
    "The program is not for living persons and not for scans from which the face was removed "
    "to protect a person, and it does not search photograph galleries.",
)
