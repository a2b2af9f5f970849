/* rig.h - a real server in this process, on loopback, and small devices that
 * drive the real session machine over real links; their store is a few
 * counters. Every helper fails the test when it cannot do its work. */
#ifndef SAT_TEST_SERVER_RIG_H
#define SAT_TEST_SERVER_RIG_H

#include "tests/engine/engine_fixture.h"

#include "client/sync/session.h"
#include "common/log.h"
#include "proto/link.h"
#include "proto/page.h"
#include "server/sync/server.h"
#include "tests/lib/pki.h"

enum { RIG_OUTBOX = 300 };

struct rig {
	struct world w; /* its engine is closed: the server has the store */
	struct test_pki pki;
	uv_loop_t loop;
	uv_timer_t timer;
	bool timed_out, stopped, job_done;
	int job_rc;
	struct sat_config *config;
	struct sat_server *server;
	struct sat_tls_ctx *tls;
	struct sat_zip *zip;
	uint32_t noted_replica;
};

struct tablet {
	struct rig *rig;
	struct sat_link *link;
	struct sat_csession s;
	struct sat_buf key, cert;
	char token[SAT_TOKEN_CHARS + 1];
	struct device made; /* builds changesets */
	struct sat_buf outbox[RIG_OUTBOX];
	uint8_t hashes[RIG_OUTBOX][16];
	/* Its store. */
	uint64_t epoch, cursor, verdict_seq, last_seq;
	uint32_t catalogue, grants, scope_count;
	uint8_t ratchet[16];
	uint64_t rows, verdicts, rejected, evicts, checkpoints, marks;
	/* What ended it. */
	bool opened, enrolled, closed, csession_closed;
	int rc;
	uint32_t wire;
	/* A device that does not play by the rules. */
	bool silent, no_credit;
	uint64_t frames_after; /* since `mark` */
	bool mark;
};

void rig_init(struct rig *r);
/* Stops the server when it runs; the loop must close without a leak. */
void rig_fini(struct rig *r);
/* Turn the loop until `until` says so; false after ms. */
bool rig_run(struct rig *r, bool (*until)(void *arg), void *arg, uint64_t ms);
void rig_job(struct rig *r, sat_server_job_cb fn, void *arg);
void rig_stop(struct rig *r);

void tablet_init(struct tablet *t, struct rig *r, const struct sat_id *user);
void tablet_fini(struct tablet *t);
void tablet_enrol(struct tablet *t);
void tablet_connect(struct tablet *t);
void tablet_write(struct tablet *t, const char *account, size_t note_bytes);
/* Send bytes that no session machine would send. */
void tablet_send(struct tablet *t, const struct sat_msg *m);
void tablet_raw(struct tablet *t, struct sat_slice bytes);

bool tablet_caught_up(void *tablet);
bool tablet_closed(void *tablet);
bool tablet_opened(void *tablet);
bool tablet_live(void *tablet);

#endif
