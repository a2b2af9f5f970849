/* Run a fuzz target over the files of a folder, and over changed copies of
 * each: what a machine without libFuzzer can do, the same on every run.
 *
 *   fuzz_page CORPUS_DIR [CHANGES_PER_FILE]
 *   fuzz_page FILE                            one input, as it is
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 1024 * 1024 };

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint32_t below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % n;
}

/* Exactly as long as the input, so that a read beyond it is seen. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void run_changed(const uint8_t *data, size_t size)
{
	static const uint8_t odd[] = { 0x00, 0x7f, 0x80, 0xff, 0xc1, 0xdd,
				       0xdf, 0xc6, 0xdb, 0x90, 0xcf, 0x01 };
	uint8_t *copy = malloc(size + 1);
	uint32_t changes = 1 + below(4);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	for (uint32_t i = 0; i < changes && size > 0; i++) {
		uint32_t at = below((uint32_t)size);

		switch (below(4)) {
		case 0:
			copy[at] ^= (uint8_t)(1u << below(8));
			break;
		case 1:
			copy[at] = odd[below(SAT_COUNT_OF(odd))];
			break;
		case 2:
			copy[at] = copy[below((uint32_t)size)];
			break;
		default:
			size = at;
		}
	}
	run(copy, size);
	free(copy);
}

static int run_file(const char *path, uint32_t changes)
{
	static uint8_t data[FILE_BYTES_MAX];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL) {
		perror(path);
		return 1;
	}
	n = fread(data, 1, sizeof data, f);
	fclose(f);
	state = 0x9e3779b97f4a7c15u ^ n; /* whatever came before this file */
	run(data, n);
	for (uint32_t i = 0; i < changes; i++)
		run_changed(data, n);
	return 0;
}

int main(int argc, char **argv)
{
	uint32_t changes = 3000;
	uint32_t files = 0;
	struct dirent *e;
	char path[4096];
	DIR *dir;

	if (argc < 2)
		return 2;
	if (argc > 2)
		changes = (uint32_t)strtoul(argv[2], NULL, 10);
	dir = opendir(argv[1]);
	if (dir == NULL)
		return run_file(argv[1], 0);
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
		if (run_file(path, changes) != 0)
			return 1;
		files++;
	}
	closedir(dir);
	printf("%u files, each as it is and changed %u times\n", files,
	       changes);
	return files > 0 ? 0 : 1;
}
