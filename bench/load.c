#include "bench/load.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/channel.h"

enum {
  SLOT_MEMORY_BYTES_MAX = 32 * 1024 * 1024, /* a request: a Commit's limit is 10 MiB */
  FAILURES_IN_A_ROW_MAX = 100,              /* then a slot gives up */
  LAST_ANSWERS_S = 30,                      /* what is not answered this long after the end has failed */
  GRPC_PREFIX_BYTES = 5,
  EVENTS = 64,
};

struct slot {
  struct channel_call call; /* first: the channel gives it back */
  struct channel *channel;
  struct arena arena;
  uint64_t random;
  int64_t started_us;
  unsigned failures_in_a_row;
  bool is_active;
  struct slot *next_free; /* of an open loop */
};

struct load {
  const struct load_options *options;
  const struct rpc_method *method;
  struct load_result *result;
  uint64_t next;
  int64_t measure_from_us, end_us, last_us;
  unsigned active;
  struct slot *free; /* of an open loop: those without a call */
  double due_us;     /* when its next call is due */
};

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* ---- One call ---- */

static bool frame_request(struct slot *slot, const struct rpc_method *method, const void *request) {
  const str *opaque = request;
  bool is_opaque = method->request.descriptor == NULL;
  size_t len = is_opaque ? opaque->len : protobuf_c_message_get_packed_size(request);
  uint8_t *bytes = arena_alloc(&slot->arena, GRPC_PREFIX_BYTES + len);
  if (bytes == NULL)
    return false;
  const uint8_t prefix[GRPC_PREFIX_BYTES] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                             (uint8_t)(len >> 8), (uint8_t)len};
  memcpy(bytes, prefix, sizeof prefix);
  if (is_opaque)
    memcpy(bytes + GRPC_PREFIX_BYTES, opaque->ptr, len);
  else
    protobuf_c_message_pack(request, bytes + GRPC_PREFIX_BYTES);
  slot->call.message = str_make(bytes, GRPC_PREFIX_BYTES + len);
  return true;
}

static bool start(struct load *load, struct slot *slot) {
  arena_reset(&slot->arena);
  const void *request = request_make(&load->options->request, &slot->random, &slot->arena);
  return request != NULL && frame_request(slot, load->method, request) &&
         channel_start(slot->channel, &slot->call);
}

static void start_next(struct load *load, struct slot *slot) {
  if (load->options->rate > 0) {
    slot->next_free = load->free;
    load->free = slot;
    return;
  }
  slot->started_us = now_us();
  bool more =
      slot->started_us < load->end_us && slot->failures_in_a_row < FAILURES_IN_A_ROW_MAX && start(load, slot);
  if (!more && slot->is_active) {
    slot->is_active = false;
    load->active--;
  }
}

static void note_failure(struct load *load, struct slot *slot, const status *failure) {
  slot->failures_in_a_row++;
  load->result->failed++;
  load->result->by_code[failure->code]++;
  if (status_is_ok(&load->result->first_failure))
    load->result->first_failure = *failure;
}

static void ended(void *argument, struct channel_call *call, const status *result) {
  struct load *load = argument;
  struct slot *slot = (void *)call;
  if (!status_is_ok(result)) {
    note_failure(load, slot, result);
  } else {
    int64_t now = now_us();
    slot->failures_in_a_row = 0;
    if (now >= load->measure_from_us && now <= load->end_us) {
      durations_add(&load->result->latency, now - slot->started_us);
      load->result->bytes_in += call->bytes_in;
      load->last_us = now;
    }
  }
  start_next(load, slot);
}

/* ---- The loop ---- */

/* Starts what is due by the clock. */
static void start_due(struct load *load, int64_t now) {
  const double interval_us = 1e6 / load->options->rate;
  while (load->due_us <= (double)now && load->due_us < (double)load->end_us) {
    struct slot *slot = load->free;
    int64_t due_us = (int64_t)load->due_us;
    load->due_us += interval_us;
    if (slot == NULL) {
      load->result->unsent += due_us >= load->measure_from_us;
      continue;
    }
    load->free = slot->next_free;
    slot->started_us = due_us;
    if (!start(load, slot)) {
      slot->is_active = false;
      load->active--;
    }
  }
}

/* All answers of an open loop are here, or will not come. */
static bool is_drained(const struct load *load, int64_t now) {
  unsigned idle = 0;
  if (load->options->rate <= 0 || now < load->end_us)
    return false;
  for (const struct slot *slot = load->free; slot != NULL; slot = slot->next_free)
    idle++;
  return idle == load->active;
}

static void lose_connection(struct load *load, struct channel *channel, struct slot *slots, unsigned count) {
  const status lost = status_make(STATUS_UNAVAILABLE, "The connection has ended.");
  for (unsigned i = 0; i < count; i++)
    if (slots[i].channel == channel && slots[i].is_active) {
      note_failure(load, &slots[i], &lost);
      slots[i].is_active = false;
      load->active--;
    }
}

static void watch(int epoll, int operation, struct channel *channel, bool for_writing) {
  struct epoll_event event = {.events = EPOLLIN | (for_writing ? (uint32_t)EPOLLOUT : 0),
                              .data.ptr = channel};
  epoll_ctl(epoll, operation, channel_fd(channel), &event);
}

static void work(struct load *load, int epoll, struct channel *channel, struct slot *slots, unsigned count) {
  bool waited = channel_wants_write(channel);
  if (!channel_work(channel)) {
    epoll_ctl(epoll, EPOLL_CTL_DEL, channel_fd(channel), NULL);
    lose_connection(load, channel, slots, count);
  } else if (channel_wants_write(channel) != waited) {
    watch(epoll, EPOLL_CTL_MOD, channel, !waited);
  }
}

static void run(struct load *load, int epoll, struct channel **channels, struct slot *slots, unsigned count) {
  struct load_result *result = load->result;
  load->active = count;
  for (unsigned i = 0; i < count; i++)
    start_next(load, &slots[i]);
  for (unsigned i = 0; i < load->options->connections; i++) {
    watch(epoll, EPOLL_CTL_ADD, channels[i], false);
    work(load, epoll, channels[i], slots, count);
  }
  double cpu_from = -1, cpu_to = -1;
  const int64_t give_up_us = load->end_us + (int64_t)LAST_ANSWERS_S * 1000000;
  load->due_us = (double)now_us();
  for (int64_t now = now_us(); load->active > 0 && now < give_up_us && !is_drained(load, now);
       now = now_us()) {
    if (cpu_from < 0 && now >= load->measure_from_us)
      cpu_from = cpu_seconds();
    if (cpu_to < 0 && now >= load->end_us)
      cpu_to = cpu_seconds();
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, load->options->rate > 0 ? 1 : 100);
    for (int i = 0; i < ready; i++)
      work(load, epoll, events[i].data.ptr, slots, count);
    if (load->options->rate <= 0)
      continue;
    start_due(load, now_us());
    for (unsigned i = 0; i < load->options->connections; i++)
      if (channel_fd(channels[i]) >= 0)
        work(load, epoll, channels[i], slots, count);
  }
  result->cpu_s = (cpu_to < 0 ? cpu_seconds() : cpu_to) - (cpu_from < 0 ? 0 : cpu_from);
  const status late =
      status_make(STATUS_DEADLINE_EXCEEDED, "No answer within %d seconds.", (int)LAST_ANSWERS_S);
  for (struct slot *slot = load->free; slot != NULL; slot = slot->next_free)
    slot->is_active = false;
  for (unsigned i = 0; i < count; i++)
    if (slots[i].is_active)
      note_failure(load, &slots[i], &late);
}

/* ---- Setting up ---- */

static struct slot *make_slots(const struct load_options *options, struct channel **channels,
                               unsigned count) {
  struct slot *slots = calloc(count, sizeof *slots);
  /* Not the same texts in each run: writing what is there already writes nothing. */
  const uint64_t seed = (uint64_t)now_us() << 20;
  for (unsigned i = 0; slots != NULL && i < count; i++) {
    slots[i].channel = channels[i % options->connections];
    slots[i].random = (UINT64_C(0x9E3779B97F4A7C15) * (i + 1)) ^ seed;
    slots[i].is_active = true;
    arena_init(&slots[i].arena, NULL, 0, SLOT_MEMORY_BYTES_MAX);
  }
  return slots;
}

static status open_channels(struct load *load, struct channel **channels) {
  const struct channel_options options = {.target = load->options->target,
                                          .path = load->method->path,
                                          .authorization = load->options->authorization,
                                          .ended = ended,
                                          .argument = load};
  for (unsigned i = 0; i < load->options->connections; i++)
    STATUS_TRY(channel_open(&options, &channels[i]));
  return status_ok();
}

static void time_load(struct load *load) {
  const struct load_options *options = load->options;
  bool fills = request_mode_fills(options->request.mode);
  load->measure_from_us = load->last_us = now_us() + (fills ? 0 : (int64_t)(options->warm_up_s * 1e6));
  load->end_us = load->measure_from_us + (int64_t)(options->measure_s * 1e6);
}

status load_run(const struct load_options *options, struct load_result *ret) {
  struct load_options own = *options;
  struct load load = {.options = &own,
                      .method = request_method(options->request.mode),
                      .result = ret,
                      .next = options->first};
  own.request.next = &load.next;
  unsigned count = options->connections * options->in_flight;
  *ret = (struct load_result){0};
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct channel **channels = calloc(options->connections, sizeof *channels);
  status result = channels == NULL || epoll < 0
                      ? status_make(STATUS_RESOURCE_EXHAUSTED, "No memory or descriptors for the load.")
                      : open_channels(&load, channels);
  struct slot *slots = status_is_ok(&result) ? make_slots(options, channels, count) : NULL;
  if (slots != NULL) {
    time_load(&load);
    run(&load, epoll, channels, slots, count);
    int64_t end_us = request_mode_fills(options->request.mode) ? load.last_us : load.end_us;
    ret->seconds = (double)(end_us - load.measure_from_us) * 1e-6;
    ret->next = load.next;
  }
  for (unsigned i = 0; channels != NULL && i < options->connections; i++)
    channel_close(channels[i]);
  for (unsigned i = 0; slots != NULL && i < count; i++)
    arena_fini(&slots[i].arena);
  free(slots);
  free(channels);
  if (epoll >= 0)
    close(epoll);
  return result;
}
