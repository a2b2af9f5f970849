# Rules about the code itself.
add_test(NAME lint_layers COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR}
	-P ${CMAKE_CURRENT_SOURCE_DIR}/lint/layers.cmake)
set_tests_properties(lint_layers PROPERTIES LABELS lint)
add_test(NAME lint_shape COMMAND /usr/bin/python3
	${CMAKE_CURRENT_SOURCE_DIR}/lint/shape.py ${PROJECT_SOURCE_DIR})
set_tests_properties(lint_shape PROPERTIES LABELS lint)
add_test(NAME lint_say COMMAND /usr/bin/python3
	${CMAKE_CURRENT_SOURCE_DIR}/lint/say.py ${PROJECT_SOURCE_DIR})
set_tests_properties(lint_say PROPERTIES LABELS lint)

add_test(NAME lint_settings COMMAND /usr/bin/python3
	${CMAKE_CURRENT_SOURCE_DIR}/lint/settings.py ${PROJECT_SOURCE_DIR})
set_tests_properties(lint_settings PROPERTIES LABELS lint)

# Every header compiles alone.
file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS
	${PROJECT_SOURCE_DIR}/common/*.h ${PROJECT_SOURCE_DIR}/proto/*.h
	${PROJECT_SOURCE_DIR}/client/*.h ${PROJECT_SOURCE_DIR}/server/*.h)
set(alone "")
foreach(header ${headers})
	string(MAKE_C_IDENTIFIER ${header} id)
	set(file ${CMAKE_CURRENT_BINARY_DIR}/alone/${id}.c)
	file(CONFIGURE OUTPUT ${file} CONTENT "#include \"${header}\"\ntypedef int alone_${id};\n")
	list(APPEND alone ${file})
endforeach()
add_library(headers_alone OBJECT ${alone})
target_link_libraries(headers_alone PRIVATE sat_flags PkgConfig::UV OpenSSL::SSL
	PkgConfig::SQLITE PkgConfig::JANSSON)
