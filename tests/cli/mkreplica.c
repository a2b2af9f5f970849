/* Makes an empty replica as an enrolment would, for tests of programs:
 *
 *   cli_replica PATH ROLE LOGIN NAME [CATALOGUE.json]
 *
 * The user is 00..01, his home territory 00..02; the server is nowhere. */
#include <stdio.h>

#include "client/replica/replica.h"
#include "proto/catalogue_load.h"

int main(int argc, char **argv)
{
	static const uint32_t scopes[] = { 0, 1 };
	struct sat_replica_identity who = {
		.replica = 7,
		.epoch = 77,
		.org = sat_slice_str("行囊演示"),
		.server = sat_slice_str("localhost:1"),
		.rights = { .version = 1, .scopes = scopes, .scope_count = 2 },
	};
	static uint8_t bytes[SAT_CATALOGUE_BYTES_MAX];
	struct sat_slice json = sat_catalogue_builtin();
	struct sat_err err;
	FILE *f;

	if (argc < 5 || argc > 6)
		return 2;
	who.rights.role = sat_role_of(sat_slice_str(argv[2]));
	if (who.rights.role == SAT_ROLE_COUNT)
		return 2;
	who.rights.user.b[15] = 1;
	who.rights.home.b[15] = 2;
	who.login = sat_slice_str(argv[3]);
	who.name = sat_slice_str(argv[4]);
	if (argc == 6) {
		f = fopen(argv[5], "rb");
		if (f == NULL)
			return 1;
		json.ptr = bytes;
		json.len = fread(bytes, 1, sizeof bytes, f);
		(void)fclose(f);
	}
	if (sat_replica_create(argv[1], &who, json, &err) == SAT_OK)
		return 0;
	(void)fprintf(stderr, "cli_replica: %s\n", err.msg);
	return 1;
}
