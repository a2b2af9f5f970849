# The model (merge and what it stands on) computes and nothing else: its
# objects refer to no I/O, clock, randomness or heap, and hold no writable
# data.
# cmake -DNM=nm -DOBJDUMP=objdump -DMODEL=libsat_model.a -DBASE=libsat_base.a
#     -P tests/lint/purity.cmake
cmake_minimum_required(VERSION 3.25)
foreach(name NM OBJDUMP MODEL BASE)
	if(NOT ${name})
		message(FATAL_ERROR "${name} is not given")
	endif()
endforeach()

function(symbols archive ret)
	execute_process(COMMAND ${NM} --format=posix -A ${archive}
		OUTPUT_VARIABLE text RESULT_VARIABLE rc ERROR_QUIET)
	if(NOT rc EQUAL 0)
		message(FATAL_ERROR "${NM} cannot read ${archive}")
	endif()
	# ARCHIVE[member.o]: symbol type [value size]; [ ] would split lists
	string(REGEX REPLACE "[^\n]*\\[([^]\n]*)\\]: " "\\1 " text "${text}")
	string(REPLACE "\n" ";" lines "${text}")
	set(${ret} "${lines}" PARENT_SCOPE)
endfunction()

set(pure "^(mem(cpy|move|set|cmp|chr)|str(len|cmp|ncmp|chr|nlen)|bcmp|__mem(cpy|move|set)_chk|__stack_chk_fail|__popcountdi2|XXH3_128bits[a-z_]*|XXH_versionNumber|_GLOBAL_OFFSET_TABLE_)$")

symbols(${MODEL} model)
symbols(${BASE} base)
set(ours "")
foreach(line ${model} ${base})
	if(line MATCHES "^[^ ]+ (sat_[^ ]+) [TR]")
		list(APPEND ours ${CMAKE_MATCH_1})
	endif()
endforeach()

set(seen 0)
set(wrong "")
foreach(line ${model})
	if(NOT line MATCHES "^([^ ]+) ([^ ]+) ([A-Za-z])")
		continue()
	endif()
	set(object ${CMAKE_MATCH_1})
	set(symbol ${CMAKE_MATCH_2})
	set(type ${CMAKE_MATCH_3})
	math(EXPR seen "${seen} + 1")
	if(type MATCHES "^[uU]$" AND NOT symbol MATCHES "${pure}" AND
			NOT symbol IN_LIST ours)
		list(APPEND wrong "${object} refers to ${symbol}")
	endif()
	if(type MATCHES "^[bBdDC]$")
		list(APPEND writable "${object} ${symbol}")
	endif()
	# these five take memory from the arena they are given and nowhere else
	if(object MATCHES "^(value|vv|stamp|row|merge)\\.c" AND
			symbol MATCHES "^sat_buf_")
		list(APPEND wrong "${object} grows a buffer (${symbol})")
	endif()
endforeach()
if(seen LESS 50)
	message(FATAL_ERROR "only ${seen} symbols in ${MODEL}: wrong archive?")
endif()

# `static const` tables of pointers are relocated data, typed d by nm as well:
# only what lies in .data, .bss or common can change.
if(writable)
	execute_process(COMMAND ${OBJDUMP} -t ${MODEL} OUTPUT_VARIABLE table
		ERROR_QUIET)
	foreach(item ${writable})
		string(REGEX REPLACE "^[^ ]+ " "" symbol "${item}")
		string(REGEX REPLACE "([.+*])" "\\\\\\1" quoted "${symbol}")
		if(table MATCHES "(\\.data|\\.bss|\\*COM\\*)\t[0-9a-f]+ (\\.hidden )?${quoted}\n" OR NOT table)
			list(APPEND wrong "${item} can be written")
		endif()
	endforeach()
endif()
if(wrong)
	string(REPLACE ";" "\n  " wrong "${wrong}")
	message(FATAL_ERROR "the model is not pure:\n  ${wrong}")
endif()
message(STATUS "${seen} symbols, all pure")
