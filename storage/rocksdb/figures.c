/* What RocksDB and the cache in front of it tell about themselves, in the terms of kv_figures. */
#include <stdio.h>

#include "storage/rocksdb/engine.h"
#include "storage/rocksdb/store_internal.h"

struct visitor {
  void (*visit)(void *argument, const struct kv_figure *figure);
  void *argument;
};

static void say(const struct visitor *visitor, const char *name, bool is_counter, const char *help,
                uint64_t value) {
  const struct kv_figure figure = {.name = name, .help = help, .is_counter = is_counter, .value = value};
  visitor->visit(visitor->argument, &figure);
}

static void say_hot(const struct visitor *visitor, struct hot *hot) {
  struct hot_stats stats;
  hot_stats(hot, &stats);
  say(visitor, "hot_documents_bytes", false, "Documents that are read again and again, in memory.",
      stats.bytes);
  say(visitor, "hot_documents_hits_total", true, "Reads that found their document there.", stats.hits);
  say(visitor, "hot_documents_misses_total", true, "Reads that did not.", stats.misses);
}

struct part {
  const char *label;
  uint64_t bytes;
};

static void say_parts(const struct visitor *visitor, const char *name, const char *help,
                      const char *label_name, const struct part *parts, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const struct kv_figure figure = {.name = name,
                                     .help = help,
                                     .is_counter = true,
                                     .label_name = label_name,
                                     .label = parts[i].label,
                                     .value = parts[i].bytes};
    visitor->visit(visitor->argument, &figure);
  }
}

/* What wears the medium out, and what for. */
static void say_written(const struct visitor *visitor, struct rocks_store *store) {
  struct kv_info info = {0};
  pipeline_counts(store, &info);
  const struct part applied[] = {{"documents", info.document_bytes},
                                 {"other", info.applied_bytes - info.document_bytes}};
  say_parts(visitor, "applied_bytes_total",
            "Keys and values that commits put: documents; index entries and the rest.", "of", applied,
            sizeof applied / sizeof *applied);
  status entered = rocks_enter(store);
  if (!status_is_ok(&entered))
    return;
  struct engine_stats stats;
  engine_stats_read(store->engine, &stats);
  rocks_leave(store);
  const struct part medium[] = {
      {"log", stats.log_bytes}, {"flush", stats.flushed_bytes}, {"compaction", stats.compacted_bytes}};
  say_parts(visitor, "medium_written_bytes_total",
            "Bytes that the store sent to the medium, by what wrote them.", "by", medium,
            sizeof medium / sizeof *medium);
}

static void say_engine(const struct visitor *visitor, const struct engine_figures *figures) {
  for (unsigned level = 0; level < ENGINE_LEVELS; level++) {
    char label[12];
    snprintf(label, sizeof label, "%u", level);
    const struct kv_figure figure = {.name = "rocksdb_files",
                                     .help = "Files of each level.",
                                     .label_name = "level",
                                     .label = label,
                                     .value = figures->files[level]};
    visitor->visit(visitor->argument, &figure);
  }
  say(visitor, "rocksdb_compactions_running", false, "Compactions under way.", figures->compactions_running);
  say(visitor, "rocksdb_flushes_running", false, "Flushes under way.", figures->flushes_running);
  say(visitor, "rocksdb_compaction_pending_bytes", false, "What compactions are behind, estimated.",
      figures->compaction_pending_bytes);
  say(visitor, "rocksdb_table_readers_bytes", false, "Memory of open files, beside the block cache.",
      figures->table_readers_bytes);
  say(visitor, "rocksdb_cache_capacity_bytes", false, "What the block cache may take.",
      figures->cache_capacity_bytes);
  say(visitor, "rocksdb_delayed_write_bytes_per_second", false,
      "The rate that writes are held to because compactions are behind; 0: they are not.",
      figures->delayed_write_bytes_per_second);
  say(visitor, "rocksdb_writes_stopped", false, "1: writes wait for compactions.", figures->writes_stopped);
}

void rocks_figures(struct kv_store *base, void (*visit)(void *argument, const struct kv_figure *figure),
                   void *argument) {
  struct rocks_store *store = rocks_of(base);
  const struct visitor visitor = {visit, argument};
  if (store->hot != NULL)
    say_hot(&visitor, store->hot);
  say_written(&visitor, store);
  status entered = rocks_enter(store);
  if (!status_is_ok(&entered))
    return;
  struct engine_figures figures;
  engine_figures_read(store->engine, &figures);
  rocks_leave(store);
  say_engine(&visitor, &figures);
}
