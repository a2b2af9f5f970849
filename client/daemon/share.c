/* A folder that another process has: --once asks that one. */
#include <stdio.h>
#include <unistd.h>

#include "client/daemon/daemon.h"
#include "common/say.h"
#include "proto/local.h"

const struct sat_err sat_daemon_differs = {
	.rc = SAT_E_CORRUPT,
	.op = "digest",
	.msg = "this device's data still differs from the server's after it "
	       "was fetched again; tell your administrator",
};

int sat_daemon_say_done(int rc, uint64_t confirmed, uint64_t rejected)
{
	if (rc == SAT_OK)
		(void)printf(sat_say("done: %llu confirmed, %llu rejected%s\n"),
			     (unsigned long long)confirmed,
			     (unsigned long long)rejected,
			     rejected == 0 ? ""
					   : sat_say("; `satchel rejected` "
						     "lists them"));
	(void)fflush(stdout);
	return sat_daemon_exit_code(rc);
}

int sat_daemon_ask(const struct sat_daemon_run *how, uint64_t left_ms,
		   struct sat_err *err)
{
	json_t *request, *answer = NULL;
	int fd, rc;

	rc = sat_ask_connect(how->dir, "sock", (int)left_ms, &fd, err);
	if (rc != SAT_OK && rc != SAT_E_NOTFOUND)
		rc = sat_err_set(err, SAT_E_BUSY, 0, "run", "no answer");
	if (rc != SAT_OK)
		return rc;
	request = json_pack("{s:s, s:I}", "ask", "sync", "timeout_ms",
			    (json_int_t)left_ms);
	rc = sat_ask(fd, request, (int)left_ms + 5000, &answer, err);
	json_decref(request);
	(void)close(fd);
	if (rc == SAT_OK) {
		rc = (int)json_integer_value(json_object_get(answer, "rc"));
		(void)sat_daemon_say_done(
			rc,
			(uint64_t)json_integer_value(
				json_object_get(answer, "confirmed")),
			(uint64_t)json_integer_value(
				json_object_get(answer, "rejected")));
		if (rc != SAT_OK)
			(void)sat_err_set(
				err, rc, 0, "run", "not done: %s",
				rc == SAT_E_TIMEOUT
					? "the running daemon reached no "
					  "server in time"
				: rc == SAT_E_DENIED
					? "the server refuses this device"
				: rc == sat_daemon_differs.rc
					? sat_daemon_differs.msg
					: "the running daemon could not sync; "
					  "`satchel status` says why");
		json_decref(answer);
	}
	return rc;
}
