"""Results on disk: pictures, result.json, report, case list.  No Qt."""
