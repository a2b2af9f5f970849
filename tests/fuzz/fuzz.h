/* fuzz.h - what every fuzz target has: the entry that libFuzzer calls, and
 * that replay.c calls for the files of a corpus and small changes of them.
 */
#ifndef SAT_TESTS_FUZZ_H
#define SAT_TESTS_FUZZ_H

#include "common/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
