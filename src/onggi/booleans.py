"""Words for true and false, as Go's strconv.ParseBool knows them. Imports nothing: commands load it."""

BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
