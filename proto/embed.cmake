# cmake -DIN=file -DOUT=file.c -DNAME=function [-DHEADER=h] -P embed.cmake
# Writes a C file whose function NAME returns the bytes of IN as a sat_slice.
# The catalogue is thus part of the program: `init` needs no other file.
file(READ ${IN} hex HEX)
string(LENGTH "${hex}" digits)
if(digits EQUAL 0)
	message(FATAL_ERROR "${IN} is empty")
endif()
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
# 12 bytes a line keeps the file readable for tools with a line limit.
string(REGEX REPLACE "(............................................................)"
	"\\1\n\t" bytes "${bytes}")
set(text "/* Made from a data file of the source tree by embed.cmake. */
#include \"${HEADER}\"

static const uint8_t bytes[] = {
	${bytes}
};

struct sat_slice ${NAME}(void)
{
	return (struct sat_slice){ bytes, sizeof bytes };
}
")
file(WRITE ${OUT} "${text}")
