"""Docker Engine API: server, routes, wire types. Translates to service calls and back; decides nothing."""
