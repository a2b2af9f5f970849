# Layer rules as a test: who may include whom (README.md, "Map of the tree").
# Usage: cmake -DROOT=<source dir> -P layers.cmake
cmake_policy(SET CMP0057 NEW)

set(bad "")
set(checked 0)

# rule(FILES-REGEX FORBIDDEN-INCLUDE-REGEX WHY): no file whose path matches the
# first may include anything that matches the second.
set(rules
	"^common/|^proto/::^(client|server|tests)/::common and proto know neither side"
	"^common/::^proto/::common is below proto"
	"^client/::^server/::client never includes server"
	"^server/::^client/::server never includes client"
	"^(common|proto|client|server)/::^tests/::products never include tests"
)
# only(INCLUDE-REGEX ALLOWED-FILES-REGEX): a library header is seen only there.
set(only
	"^sqlite3\\.h$::^(common/db[a-z_]*\\.[ch]|client/replica/|server/store/)"
	"^msgpack(\\.h|/.*)$::^proto/"
	"^openssl/::^common/(tls|pki)[a-z0-9_]*\\.[ch]$"
	"^uv\\.h$::^(proto/(link|local)|server/|client/)"
	"^jansson\\.h$::^(proto/(catalogue|local)|server/|client/)"
	"^xxhash\\.h$::^(common|proto)/"
	"^zstd\\.h$::^proto/"
)
# pure(FILES-REGEX): these see no I/O, clock, randomness or outside library.
set(pure "^(common/(value|vv|stamp|row|merge|meta[a-z_]*|catalogue|text[a-z_]*|delta)\\.[ch]|(client|server)/sync/session[a-z_]*\\.[ch])$")
set(impure "^(stdio\\.h|time\\.h|unistd\\.h|fcntl\\.h|pthread\\.h|sys/.*|uv\\.h|sqlite3\\.h|openssl/.*|errno\\.h)$")

file(GLOB_RECURSE sources RELATIVE ${ROOT}
	${ROOT}/common/*.[ch] ${ROOT}/proto/*.[ch]
	${ROOT}/client/*.[ch] ${ROOT}/server/*.[ch])
foreach(source ${sources})
	file(STRINGS ${ROOT}/${source} lines REGEX "^#[ \t]*include")
	foreach(line ${lines})
		if(NOT line MATCHES "[<\"]([^>\"]+)[>\"]")
			continue()
		endif()
		set(header ${CMAKE_MATCH_1})
		math(EXPR checked "${checked} + 1")
		foreach(rule ${rules})
			string(REPLACE "::" ";" part "${rule}")
			list(GET part 0 where)
			list(GET part 1 what)
			list(GET part 2 why)
			if(source MATCHES "${where}" AND header MATCHES "${what}")
				string(APPEND bad "  ${source} includes ${header}: ${why}\n")
			endif()
		endforeach()
		foreach(rule ${only})
			string(REPLACE "::" ";" part "${rule}")
			list(GET part 0 what)
			list(GET part 1 where)
			if(header MATCHES "${what}" AND NOT source MATCHES "${where}")
				string(APPEND bad "  ${source} includes ${header}, which belongs to ${where}\n")
			endif()
		endforeach()
		if(source MATCHES "${pure}" AND header MATCHES "${impure}")
			string(APPEND bad "  ${source} is pure but includes ${header}\n")
		endif()
	endforeach()
endforeach()

if(checked LESS 100)
	message(FATAL_ERROR "only ${checked} includes found: the lint looks in the wrong place")
endif()
if(bad)
	message(FATAL_ERROR "layer rules broken:\n${bad}")
endif()
message(STATUS "${checked} includes follow the layer rules")
