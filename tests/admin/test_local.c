/* The local socket: whoever may ask, one at a time, whatever the path, and
 * what does not follow the rules ends alone. */
#define _GNU_SOURCE /* O_PATH */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/local.h"

#define OK(call) assert_int_equal(call, SAT_OK)

enum { HELD_MAX = 4 };

/* The program: a thread with a loop that echoes, holds back or drops. */
struct program {
	char dir[400];
	uv_loop_t loop;
	uv_async_t poke;
	uv_thread_t thread;
	struct sat_local *local;
	struct sat_local_call *held[HELD_MAX];
	json_t *requests[HELD_MAX];
	int held_count;
	bool gone;
};

static struct program p;
static struct sat_err err;

static void answer_held(struct program *g)
{
	for (int i = 0; i < g->held_count; i++)
		sat_local_answer(g->held[i], g->requests[i]);
	g->held_count = 0;
}

static void on_call(void *arg, struct sat_local_call *call, json_t *request)
{
	struct program *g = arg;

	if (json_object_get(request, "hold") != NULL) {
		g->held[g->held_count] = call;
		g->requests[g->held_count++] = request;
	} else if (json_object_get(request, "drop") != NULL) {
		json_decref(request);
		sat_local_answer(call, NULL);
	} else {
		answer_held(g);
		sat_local_answer(call, request);
	}
}

static void on_gone(void *arg)
{
	((struct program *)arg)->gone = true;
}

/* What was asked is answered even while the socket closes. */
static void on_poke(uv_async_t *h)
{
	struct program *g = h->data;

	sat_local_close(g->local, on_gone, g);
	sat_local_close(g->local, on_gone, g); /* twice is once */
	answer_held(g);
	uv_close((uv_handle_t *)&g->poke, NULL);
}

static void serve(void *arg)
{
	struct program *g = arg;

	(void)uv_run(&g->loop, UV_RUN_DEFAULT);
}

static void start(void)
{
	struct sat_local_options o = { .loop = &p.loop,
				       .dir = p.dir,
				       .name = "test.sock",
				       .greeting = "test 1",
				       .on_call = on_call,
				       .arg = &p };

	p.gone = false;
	p.held_count = 0;
	assert_int_equal(uv_loop_init(&p.loop), 0);
	assert_int_equal(uv_async_init(&p.loop, &p.poke, on_poke), 0);
	p.poke.data = &p;
	OK(sat_local_open(&o, &p.local, &err));
	assert_int_equal(uv_thread_create(&p.thread, serve, &p), 0);
}

static void stop(void)
{
	(void)uv_async_send(&p.poke);
	(void)uv_thread_join(&p.thread);
	assert_true(p.gone);
	assert_int_equal(uv_loop_close(&p.loop), 0);
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(p.dir, sizeof p.dir, "/tmp/sat-local-XXXXXX");
	return mkdtemp(p.dir) == NULL;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(p.dir);
}

static json_t *ask(int fd, const char *text)
{
	json_t *request = json_loads(text, 0, NULL), *answer = NULL;

	assert_non_null(request);
	OK(sat_ask(fd, request, 5000, &answer, &err));
	json_decref(request);
	return answer;
}

static void echo(int fd, const char *text)
{
	json_t *answer = ask(fd, text), *wanted = json_loads(text, 0, NULL);

	assert_true(json_equal(answer, wanted));
	json_decref(answer);
	json_decref(wanted);
}

static int connected(void)
{
	int fd = -1;

	OK(sat_ask_connect(p.dir, "test.sock", 5000, &fd, &err));
	return fd;
}

static void asked_and_answered(void **state)
{
	struct stat st;
	char path[500];
	int fd;

	(void)state;
	start();
	(void)snprintf(path, sizeof path, "%s/test.sock", p.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	fd = connected();
	echo(fd, "{}");
	echo(fd, "{\"a\": [1, \"\xe5\xae\x89\", null]}");
	(void)close(fd);
	stop();
	assert_int_not_equal(stat(path, &st), 0); /* removed at the end */
}

static void large_texts(void **state)
{
	size_t n = 9 << 20;
	char *text = malloc(n + 1);
	json_t *request, *answer;
	int fd;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', n);
	text[n] = '\0';
	start();
	fd = connected();
	request = json_pack("{s:s}", "text", text);
	OK(sat_ask(fd, request, 20000, &answer, &err));
	assert_true(json_equal(request, answer));
	json_decref(request);
	json_decref(answer);
	(void)close(fd);
	stop();
	/* More than a text may be is refused before a byte is sent. */
	free(text);
	n = (size_t)SAT_LOCAL_BYTES_MAX;
	text = malloc(n + 1);
	assert_non_null(text);
	memset(text, 'x', n);
	text[n] = '\0';
	request = json_pack("{s:s}", "text", text);
	assert_int_equal(sat_ask(-1, request, 100, &answer, &err), SAT_E_LIMIT);
	json_decref(request);
	free(text);
}

/* Two connections do not wait for each other; an answer may come late. */
static void one_waits_the_other_does_not(void **state)
{
	json_t *hold = json_pack("{s:b}", "hold", 1), *answer;
	int slow, quick;

	(void)state;
	start();
	slow = connected();
	quick = connected();
	assert_int_equal(sat_ask(slow, hold, 50, &answer, &err), SAT_E_TIMEOUT);
	echo(quick, "{\"now\": 1}"); /* and lets the slow one go */
	(void)close(slow);
	(void)close(quick);
	json_decref(hold);
	stop();
}

/* A peer that leaves, before and after its request was taken. */
static void who_leaves_early_breaks_nothing(void **state)
{
	json_t *hold = json_pack("{s:b}", "hold", 1), *answer;
	int fd, other;

	(void)state;
	start();
	for (int i = 0; i < 3; i++) {
		fd = connected();
		assert_int_equal(sat_ask(fd, hold, 20, &answer, &err),
				 SAT_E_TIMEOUT);
		(void)close(fd);
		fd = connected();
		(void)close(fd);
		other = connected();
		echo(other, "{}");
		(void)close(other);
	}
	/* held to the end: the socket closes with a request unanswered */
	fd = connected();
	assert_int_equal(sat_ask(fd, hold, 20, &answer, &err), SAT_E_TIMEOUT);
	stop();
	(void)close(fd);
	json_decref(hold);
}

static void expect_end(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) > 0)
		;
	(void)close(fd);
}

static void who_breaks_the_rules_ends_alone(void **state)
{
	static const struct {
		const char *bytes, *why;
		size_t len;
	} bad[] = {
		{ "\xff\xff\xff\xff", "longer than any text", 4 },
		{ "\x02\0\0\x01", "one more than the longest", 4 },
		{ "\0\0\0\x04junk", "no JSON", 8 },
		{ "\0\0\0\0", "nothing at all", 4 },
		{ "\0\0\0\x03{} ", "a space behind is fine, a half one not",
		  6 },
		{ "\0\0", "half a length", 2 },
	};
	int good, fd;

	(void)state;
	start();
	good = connected();
	for (size_t i = 0; i < SAT_COUNT_OF(bad); i++) {
		fd = connected();
		assert_int_equal(send(fd, bad[i].bytes, bad[i].len, 0),
				 (int)bad[i].len);
		(void)shutdown(fd, SHUT_WR);
		expect_end(fd);
		echo(good, "{\"still\": \"here\"}");
	}
	(void)close(good);
	stop();
}

static void dropped(void **state)
{
	json_t *request = json_pack("{s:b}", "drop", 1), *answer;
	int fd;

	(void)state;
	start();
	fd = connected();
	assert_int_equal(sat_ask(fd, request, 5000, &answer, &err),
			 SAT_E_CLOSED);
	(void)close(fd);
	json_decref(request);
	stop();
}

static void long_path_and_stale_socket(void **state)
{
	char top[sizeof p.dir], deep[sizeof p.dir], path[500];
	FILE *f;
	int fd;

	(void)state;
	memcpy(top, p.dir, sizeof top);
	(void)snprintf(deep, sizeof deep, "%.100s/%0200d", top, 7);
	assert_int_equal(mkdir(deep, 0700), 0);
	memcpy(p.dir, deep, sizeof deep);
	assert_int_equal(sat_ask_connect(p.dir, "test.sock", 100, &fd, &err),
			 SAT_E_NOTFOUND);
	(void)snprintf(path, sizeof path, "%s/test.sock", deep);
	f = fopen(path, "w"); /* whatever lies there is stale */
	assert_non_null(f);
	(void)fclose(f);
	start();
	fd = connected();
	echo(fd, "{}");
	(void)close(fd);
	stop();
	assert_int_equal(rmdir(deep), 0);
	memcpy(p.dir, top, sizeof top);
	assert_int_equal(sat_ask_connect("/nonexistent", "x", 100, &fd, &err),
			 SAT_E_IO);
}

/* A listener that accepts nobody: greeting and connect both end in time. */
static void a_hung_program_is_not_waited_for(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), fds[8], fd;
	uint64_t began, took;

	(void)state;
	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "%.80s/hung.sock",
		       p.dir);
	assert_int_equal(bind(s, (struct sockaddr *)&addr, sizeof addr), 0);
	assert_int_equal(listen(s, 1), 0);
	for (int i = 0; i < 8; i++) {
		began = uv_hrtime();
		assert_int_equal(
			sat_ask_connect(p.dir, "hung.sock", 100, &fds[i], &err),
			SAT_E_TIMEOUT);
		took = (uv_hrtime() - began) / 1000000;
		assert_in_range(took, 90, 3000);
		/* keep the queue full */
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fd, (struct sockaddr *)&addr, sizeof addr);
		fds[i] = fd;
	}
	for (int i = 0; i < 8; i++)
		(void)close(fds[i]);
	(void)close(s);
	assert_int_equal(unlink(addr.sun_path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(asked_and_answered, setup,
						teardown),
		cmocka_unit_test_setup_teardown(large_texts, setup, teardown),
		cmocka_unit_test_setup_teardown(one_waits_the_other_does_not,
						setup, teardown),
		cmocka_unit_test_setup_teardown(who_leaves_early_breaks_nothing,
						setup, teardown),
		cmocka_unit_test_setup_teardown(who_breaks_the_rules_ends_alone,
						setup, teardown),
		cmocka_unit_test_setup_teardown(dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(long_path_and_stale_socket,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_hung_program_is_not_waited_for, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
