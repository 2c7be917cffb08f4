#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/slow_pool.h"
#include "tests/support/unit.h"

/* A clock that the test steers, and a gate that holds jobs in their run. */
static _Atomic int64_t now;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool open_gate;
static unsigned inside, inside_max, ended;
static size_t memory_inside, memory_inside_max;

static int64_t read_now(void *argument) {
  (void)argument;
  return atomic_load(&now);
}

struct task {
  struct slow_job job;
  unsigned runs;
  enum status_code code;
  unsigned place; /* in the order of ending */
};

static void run_task(struct slow_job *job, const status *go) {
  struct task *task = (struct task *)job;
  pthread_mutex_lock(&mutex);
  if (status_is_ok(go)) {
    inside++;
    memory_inside += job->memory_bytes;
    inside_max = inside > inside_max ? inside : inside_max;
    memory_inside_max = memory_inside > memory_inside_max ? memory_inside : memory_inside_max;
    pthread_cond_broadcast(&moved);
    while (!open_gate)
      pthread_cond_wait(&moved, &mutex);
    inside--;
    memory_inside -= job->memory_bytes;
  }
  task->runs++;
  task->code = go->code;
  task->place = ended++;
  pthread_cond_broadcast(&moved);
  pthread_mutex_unlock(&mutex);
}

static void wait_inside(unsigned count) {
  pthread_mutex_lock(&mutex);
  while (inside < count)
    pthread_cond_wait(&moved, &mutex);
  pthread_mutex_unlock(&mutex);
}

static void set_gate(bool open) {
  pthread_mutex_lock(&mutex);
  open_gate = open;
  pthread_cond_broadcast(&moved);
  pthread_mutex_unlock(&mutex);
}

static void wait_ended(unsigned count) {
  pthread_mutex_lock(&mutex);
  while (ended < count)
    pthread_cond_wait(&moved, &mutex);
  pthread_mutex_unlock(&mutex);
}

static struct slow_pool *open_pool(unsigned threads, unsigned queue_max, size_t memory_bytes) {
  struct slow_pool_options options = {.threads = threads,
                                      .queue_max = queue_max,
                                      .memory_bytes = memory_bytes,
                                      .nice = 5,
                                      .now_us = read_now};
  struct slow_pool *pool;
  assert_status_ok(slow_pool_open(&options, &pool));
  atomic_store(&now, 1000);
  open_gate = false;
  inside = inside_max = ended = 0;
  memory_inside = memory_inside_max = 0;
  return pool;
}

static struct task task_of(size_t memory_bytes, int64_t deadline_us) {
  return (struct task){.job = {.run = run_task, .memory_bytes = memory_bytes, .deadline_us = deadline_us}};
}

static void a_full_queue_refuses(void **state) {
  (void)state;
  struct slow_pool *pool = open_pool(1, 2, 100);
  struct task tasks[4];
  struct slow_pool_info info;
  for (unsigned i = 0; i < UNIT_COUNT(tasks); i++)
    tasks[i] = task_of(1, 0);
  assert_status_ok(slow_pool_submit(pool, &tasks[0].job));
  wait_inside(1);
  assert_status_ok(slow_pool_submit(pool, &tasks[1].job));
  assert_status_ok(slow_pool_submit(pool, &tasks[2].job));
  assert_status_code(slow_pool_submit(pool, &tasks[3].job), STATUS_RESOURCE_EXHAUSTED);
  struct task large = task_of(101, 0);
  assert_status_code(slow_pool_submit(pool, &large.job), STATUS_RESOURCE_EXHAUSTED);
  slow_pool_info(pool, &info);
  assert_int_equal(info.waiting, 2);
  assert_int_equal(info.running, 1);
  assert_int_equal(info.memory_bytes, 1);
  assert_int_equal(info.refused, 2);
  set_gate(true);
  wait_ended(3);
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(tasks[i].runs, 1);
    assert_int_equal(tasks[i].place, i);
  }
  assert_int_equal(tasks[3].runs, 0);
  slow_pool_close(pool);
}

static void memory_bounds_what_runs_at_once(void **state) {
  (void)state;
  struct slow_pool *pool = open_pool(4, 10, 100);
  struct task tasks[5] = {task_of(60, 0), task_of(40, 0), task_of(50, 0), task_of(1, 0), task_of(100, 0)};
  for (unsigned i = 0; i < UNIT_COUNT(tasks); i++)
    assert_status_ok(slow_pool_submit(pool, &tasks[i].job));
  wait_inside(2); /* the third waits, and nobody passes it */
  struct slow_pool_info info;
  slow_pool_info(pool, &info);
  assert_int_equal(info.running, 2);
  assert_int_equal(info.waiting, 3);
  set_gate(true);
  wait_ended(5);
  assert_true(memory_inside_max <= 100);
  assert_int_equal(tasks[4].place, 4);
  slow_pool_close(pool);
}

static void what_is_too_late_does_not_begin(void **state) {
  (void)state;
  struct slow_pool *pool = open_pool(1, 10, 100);
  struct task first = task_of(1, 1500), late = task_of(1, 2000), early = task_of(1, 3000);
  assert_status_ok(slow_pool_submit(pool, &first.job));
  wait_inside(1);
  assert_status_ok(slow_pool_submit(pool, &late.job));
  assert_status_ok(slow_pool_submit(pool, &early.job));
  atomic_store(&now, 2000);
  set_gate(true);
  wait_ended(3);
  assert_int_equal(first.code, STATUS_OK); /* it had begun */
  assert_int_equal(late.code, STATUS_DEADLINE_EXCEEDED);
  assert_int_equal(early.code, STATUS_OK);
  slow_pool_close(pool);
}

static void *open_gate_later(void *argument) {
  (void)argument;
  usleep(50000);
  set_gate(true);
  return NULL;
}

static void closing_ends_each_job_once(void **state) {
  (void)state;
  struct slow_pool *pool = open_pool(2, 10, 100);
  struct task tasks[8];
  pthread_t opener;
  for (unsigned i = 0; i < UNIT_COUNT(tasks); i++) {
    tasks[i] = task_of(1, 0);
    assert_status_ok(slow_pool_submit(pool, &tasks[i].job));
  }
  wait_inside(2);
  slow_pool_stop(pool);
  struct task refused = task_of(1, 0);
  assert_status_code(slow_pool_submit(pool, &refused.job), STATUS_UNAVAILABLE);
  assert_int_equal(pthread_create(&opener, NULL, open_gate_later, NULL), 0);
  slow_pool_close(pool);
  pthread_join(opener, NULL);
  for (unsigned i = 0; i < UNIT_COUNT(tasks); i++) {
    assert_int_equal(tasks[i].runs, 1);
    assert_int_equal(tasks[i].code, i < 2 ? STATUS_OK : STATUS_UNAVAILABLE);
  }
  assert_int_equal(refused.runs, 0);
}

/* ---- Many at once ---- */

enum { SUBMITTERS = 4, JOBS_EACH = 500 };
static atomic_uint done_jobs;
static struct slow_pool *shared;

static void count_and_free(struct slow_job *job, const status *go) {
  (void)go;
  free(job);
  atomic_fetch_add(&done_jobs, 1);
}

static void *submit_many(void *argument) {
  unsigned *taken = argument;
  for (unsigned i = 0; i < JOBS_EACH; i++) {
    struct slow_job *job = calloc(1, sizeof *job);
    if (job == NULL)
      abort();
    job->run = count_and_free;
    job->memory_bytes = i % 50;
    status result = slow_pool_submit(shared, job);
    if (status_is_ok(&result))
      (*taken)++;
    else
      free(job);
  }
  return NULL;
}

static void many_threads_submit_and_it_closes(void **state) {
  (void)state;
  shared = open_pool(3, 64, 100);
  pthread_t threads[SUBMITTERS];
  unsigned taken[SUBMITTERS] = {0}, all = 0;
  for (unsigned i = 0; i < SUBMITTERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &taken[i]), 0);
  usleep(1000);
  slow_pool_stop(shared); /* in the middle, or after it */
  for (unsigned i = 0; i < SUBMITTERS; i++) {
    pthread_join(threads[i], NULL);
    all += taken[i];
  }
  slow_pool_close(shared);
  assert_int_equal(atomic_load(&done_jobs), all);
}

/* A job that waited for longer than it computed has met others: the thread rests, but not when the pool
 * closes. */
static void it_rests_when_others_want_the_cores(void **state) {
  (void)state;
  inside = ended = 0;
  struct slow_pool_options options = {
      .threads = 1, .queue_max = 2, .memory_bytes = 1, .rest_when_busy = 100000000, .now_us = read_now};
  struct slow_pool *pool;
  assert_status_ok(slow_pool_open(&options, &pool));
  struct task first = {.job.run = run_task}, second = {.job.run = run_task};
  set_gate(false);
  assert_status_ok(slow_pool_submit(pool, &first.job));
  wait_inside(1);
  usleep(50000);
  set_gate(true);
  wait_ended(1);
  assert_status_ok(slow_pool_submit(pool, &second.job));
  usleep(50000);
  struct slow_pool_info info;
  slow_pool_info(pool, &info);
  assert_true(info.waiting == 1 && info.running == 0);
  slow_pool_close(pool);
  assert_true(first.runs == 1 && first.code == STATUS_OK);
  assert_true(second.runs == 1 && second.code == STATUS_UNAVAILABLE);
}

static void bad_options_are_refused(void **state) {
  (void)state;
  struct slow_pool *pool;
  struct slow_pool_options good = {.threads = 1, .queue_max = 1, .now_us = read_now}, bad = good;
  bad.threads = SLOW_POOL_THREADS_MAX + 1;
  assert_status_code(slow_pool_open(&bad, &pool), STATUS_INVALID_ARGUMENT);
  bad = good;
  bad.queue_max = 0;
  assert_status_code(slow_pool_open(&bad, &pool), STATUS_INVALID_ARGUMENT);
  assert_status_ok(slow_pool_open(&good, &pool));
  slow_pool_close(pool);
  slow_pool_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_full_queue_refuses),
      cmocka_unit_test(memory_bounds_what_runs_at_once),
      cmocka_unit_test(what_is_too_late_does_not_begin),
      cmocka_unit_test(closing_ends_each_job_once),
      cmocka_unit_test(many_threads_submit_and_it_closes),
      cmocka_unit_test(it_rests_when_others_want_the_cores),
      cmocka_unit_test(bad_options_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
