/* History lives in RocksDB's user-defined timestamps: a versioned key is (key, version), newest first, one
 * bloom filter entry a key; reading as of a version is one point get; an overwrite writes the new value and
 * nothing else. Compaction drops what is older than `full_history_ts_low` and hidden.
 *
 * What RocksDB 7.8.3 does with them, read in its source, and what we do about it:
 * - Once an entry is older than full_history_ts_low, the last level has its timestamp zeroed
 *   (CompactionIterator::PrepareOutput). So each value begins with its version again.
 * - A file of the last level whose sequence numbers are not zero is marked for compaction again and again
 * once a Snapshot was released (ComputeBottommostFilesMarkedForCompaction; facebook/rocksdb #14228): with
 *   timestamps that are still history they never become zero, and the file is rewritten without end. We never
 *   take a Snapshot: the timestamp is the snapshot, and an iterator pins what it reads.
 * - Reads below full_history_ts_low are not refused but wrong: the driver refuses them, and moves
 *   full_history_ts_low one round later than its own limit.
 * - Before 8.4 the log does not record the size of timestamps, and later versions refuse such a log: a clean
 *   close leaves no log behind, so an upgrade of the library goes through a clean close.
 * - Log files cannot be recycled in any recovery mode that we may use.
 *
 * Several column families and one log: a batch is atomic over all of them. */
#include "storage/rocksdb/engine.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <rocksdb/cache.h>
#include <rocksdb/comparator.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/perf_level.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>
#include <string>
#include <vector>

#include "storage/rocksdb/engine_db.h"
#include "storage/rocksdb/translate.h"

using rocksdb::ColumnFamilyHandle;
using rocksdb::PinnableSlice;
using rocksdb::ReadOptions;
using rocksdb::Slice;

static_assert(sizeof(void *) == sizeof(size_t), "");

namespace {

/* Which column family is which: names are on disk. */
const char *const family_names[ENGINE_FAMILY_COUNT] = {"documents", "index", "system", "changes", "default"};

const size_t timestamp_bytes = 8;

Slice slice_of(str s) {
  return Slice(s.ptr == nullptr ? "" : s.ptr, s.len);
}
str str_of(const Slice &s) {
  return str_make(s.data(), s.size());
}

status translate(const rocksdb::Status &s) {
  if (s.ok())
    return status_ok();
  return rocksdb_translate(s.code(), s.subcode(), s.ToString().c_str());
}

/* RocksDB's order of timestamps ("leveldb.BytewiseComparator.u64ts") is of little-endian numbers. */
struct Timestamp {
  char bytes[timestamp_bytes];
  explicit Timestamp(uint64_t version) {
    for (size_t i = 0; i < timestamp_bytes; i++)
      bytes[i] = static_cast<char>(version >> (8 * i));
  }
  Slice slice() const { return Slice(bytes, sizeof bytes); }
};

int64_t number_of(const char *bytes) {
  uint64_t n = 0;
  for (size_t i = 0; i < timestamp_bytes; i++)
    n |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return static_cast<int64_t>(n);
}

/* RocksDB's text log would be one more file that can fail on a full disk, and aborts the process when it
 * does. What matters arrives as a status. */
class NoLog : public rocksdb::Logger {
public:
  NoLog() : Logger(rocksdb::InfoLogLevel::FATAL_LEVEL) {}
  using Logger::Logv;
  void Logv(const char *, va_list) override {}
};

/* What was written, without RocksDB's statistics, which cost a tenth of each get. */
struct Counters {
  std::atomic<uint64_t> log_bytes{0}, flushed_bytes{0}, compacted_bytes{0}, syncs{0};
};

class Listener : public rocksdb::EventListener {
public:
  Listener(const engine_options *options, Counters *counters)
      : failed_(options->failed), argument_(options->argument), counters_(counters) {}
  void OnTableFileCreated(const rocksdb::TableFileCreationInfo &info) override {
    std::atomic<uint64_t> &bytes = info.reason == rocksdb::TableFileCreationReason::kCompaction
                                       ? counters_->compacted_bytes
                                       : counters_->flushed_bytes;
    bytes.fetch_add(info.file_size, std::memory_order_relaxed);
  }
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status *error) override {
    status s = translate(*error);
    if (failed_ != nullptr)
      failed_(argument_, &s);
  }

private:
  void (*failed_)(void *, const status *);
  void *argument_;
  Counters *counters_;
};

struct Pin : engine_pin {
  PinnableSlice slice;
  Pin *next;
};

/* RocksDB counts what each thread does, at each comparison and each block, for who asks; nobody does. It is a
 * tenth of a get. */
void stop_counting() {
  thread_local const bool done = (rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable), true);
  static_cast<void>(done);
}

/* A get without malloc: each thread keeps some pins. What is pinned here may be released elsewhere. */
class PinPool {
public:
  PinPool() noexcept { stop_counting(); }
  PinPool(const PinPool &) = delete;
  PinPool &operator=(const PinPool &) = delete;
  ~PinPool() {
    while (free_ != nullptr)
      delete take();
  }
  Pin *take() {
    Pin *pin = free_;
    if (pin == nullptr)
      return new Pin();
    free_ = pin->next;
    count_--;
    return pin;
  }
  void give(Pin *pin) {
    pin->slice.Reset();
    /* A large value that was copied leaves its buffer behind. */
    if (count_ >= count_max || pin->slice.GetSelf()->capacity() > buffer_bytes_max) {
      delete pin;
      return;
    }
    pin->next = free_;
    free_ = pin;
    count_++;
  }

private:
  static const int count_max = 32;
  static const size_t buffer_bytes_max = 4096;
  Pin *free_ = nullptr;
  int count_ = 0;
};

thread_local PinPool pins;

} // namespace

struct engine {
  Counters counters; /* outlives `db` */
  std::unique_ptr<rocksdb::DB> db;
  std::vector<ColumnFamilyHandle *> families;
  std::shared_ptr<rocksdb::Cache> cache;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  std::string directory;
  bool read_only;
};

struct engine_iter {
  std::string lower, upper;
  Slice lower_slice, upper_slice, timestamp_slice;
  Timestamp timestamp;
  std::unique_ptr<rocksdb::Iterator> it;
  explicit engine_iter(int64_t version) : timestamp(static_cast<uint64_t>(version)) {
    timestamp_slice = timestamp.slice();
  }
};

struct engine_batch {
  rocksdb::WriteBatch batch;
  rocksdb::Status status;
};

namespace {

rocksdb::BlockBasedTableOptions table_options(unsigned family, const std::shared_ptr<rocksdb::Cache> &cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.format_version = 5;
  /* Ten documents of 300 bytes: what a miss must read and unpack. */
  table.block_size = 4096;
  /* The index and the filters are in the cache too, in parts, so that a cache that is smaller than they are
   * still works; only their top level stays. Without this a 4 MB cache made gets 20 times slower. */
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = family != ENGINE_INDEX;
  table.metadata_block_size = 4096;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_top_level_index_and_filter = true;
  /* Every get asks the filter of each file of level 0: those stay as a whole. They are small. */
  table.metadata_cache_options.partition_pinning = rocksdb::PinningTier::kFlushedAndSimilar;
  /* 10 bits a key: 1% false hits. */
  if (family != ENGINE_INDEX)
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.optimize_filters_for_memory = false;
  /* Reading ahead is a system call each time, in the cache or not: for scans, not for pages of a list. */
  table.num_file_reads_for_auto_readahead = 16;
  return table;
}

const int zstd_level = 1; /* the next ones save little more and take twice the time */

rocksdb::ColumnFamilyOptions family_options(unsigned family, const std::shared_ptr<rocksdb::Cache> &cache,
                                            size_t write_buffer_bytes, const kv_rocksdb_tuning &tuning) {
  rocksdb::ColumnFamilyOptions options;
  if (family < ENGINE_VERSIONED_COUNT) {
    const rocksdb::Comparator *comparator = nullptr;
    rocksdb::Status s = rocksdb::Comparator::CreateFromString(
        rocksdb::ConfigOptions(), "leveldb.BytewiseComparator.u64ts", &comparator);
    if (!s.ok() || comparator == nullptr)
      std::abort(); /* not the library that we were built for */
    options.comparator = comparator;
    /* Versions of one key that a scan steps over before it seeks past them: a seek costs as much as twenty.
     */
    options.max_sequential_skip_in_iterations = 24;
    /* Old values of keys that are not written any more go when their file is rewritten; at the latest then.
     */
    options.periodic_compaction_seconds = UINT64_C(30) * 24 * 3600;
  }
  rocksdb::BlockBasedTableOptions table = table_options(family, cache);
  if (tuning.zstd) /* neighbours are alike, those of an index most: more of them at once pack better */
    table.block_size = family == ENGINE_INDEX ? 16384 : 8192;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  /* LZ4: zstd would save a third of what is written, and make each get that misses the cache several times
   * dearer on a small core. Where the medium wears out, it is worth it. */
  options.compression = tuning.zstd ? rocksdb::kZSTD : rocksdb::kLZ4Compression;
  options.bottommost_compression = rocksdb::kDisableCompressionOption;
  options.compression_opts.level =
      tuning.zstd ? zstd_level : rocksdb::CompressionOptions::kDefaultCompressionLevel;
  options.write_buffer_size = write_buffer_bytes;
  options.max_write_buffer_number = 3;
  /* A filter for the memtable too, of a fiftieth of its size: most keys are not in it. */
  options.memtable_prefix_bloom_size_ratio = 0.02;
  options.memtable_whole_key_filtering = true;
  /* The default, an eighth of the write buffer, would cost a megabyte in each family that holds anything. */
  options.arena_block_size = 64 * 1024;
  options.target_file_size_base = 16 * 1024 * 1024;
  options.max_bytes_for_level_base = tuning.level_base_bytes;
  options.max_bytes_for_level_multiplier = tuning.level_multiplier;
  options.level_compaction_dynamic_level_bytes = true;
  options.level0_file_num_compaction_trigger = static_cast<int>(tuning.level0_tables);
  if (family == ENGINE_INDEX) {
    /* Entries are only scanned, never asked for by key: filters would only cost. */
    options.memtable_prefix_bloom_size_ratio = 0;
    options.memtable_whole_key_filtering = false;
    /* Ten times as many entries as documents: merging them less often saves a tenth of a commit's time, and
     * costs a scan two more places to look into. */
    options.level0_file_num_compaction_trigger = static_cast<int>(tuning.level0_tables * 3 / 2);
  }
  if (tuning.lazy_merges && family < ENGINE_VERSIONED_COUNT) {
    /* Below level 0 outputs are cut at target_file_size_base; one that stays in level 0 is smaller than the
     * six runs below it, so that files stay far under the 2 GiB of libraries of 32 bits. */
    options.compaction_style = rocksdb::kCompactionStyleUniversal;
    options.level0_file_num_compaction_trigger = static_cast<int>(tuning.level0_tables);
    /* Writes are held up when merges are behind, not when the runs of one merge have come together. */
    options.level0_slowdown_writes_trigger = options.level0_file_num_compaction_trigger + 16;
    options.level0_stop_writes_trigger = options.level0_file_num_compaction_trigger + 32;
    /* With history in it the newer runs outgrow the oldest often; rewriting that one each time is what the
     * style is to avoid. */
    options.compaction_options_universal.max_size_amplification_percent = 400;
    /* Neighbours are merged when none is three times as large as the next. The other rule, that a run is
     * taken when all before it together are about as large, takes the outcome of the last merge into the next
     * one, and rewrites more the longer it goes on. */
    options.compaction_options_universal.stop_style = rocksdb::kCompactionStopStyleSimilarSize;
    options.compaction_options_universal.size_ratio = 200;
  }
  if (family == ENGINE_CHANGES) {
    /* Only appended to and dropped from the front, by whole files: small ones follow the limit closer. */
    options.target_file_size_base = 4 * 1024 * 1024;
    options.level0_file_num_compaction_trigger = 2;
  }
  return options;
}

rocksdb::DBOptions db_options(const engine_options *o, engine *e, size_t write_buffer_bytes) {
  rocksdb::DBOptions options;
  options.create_if_missing = o->create;
  options.create_missing_column_families = o->create;
  options.info_log = std::make_shared<NoLog>();
  options.info_log_level = rocksdb::InfoLogLevel::FATAL_LEVEL;
  options.listeners.push_back(std::make_shared<Listener>(o, &e->counters));
  options.write_buffer_manager = e->write_buffers;
  /* The driver opens the store again after any error; RocksDB's own recovery does not cover the log. */
  options.max_bgerror_resume_count = 0;
  /* One writer, the commit thread: the concurrent paths only cost. */
  options.allow_concurrent_memtable_write = false;
  options.enable_write_thread_adaptive_yield = false;
  /* The most that is replayed at a start after a crash: under a second on a small core. Where merges are to
   * be few it is as much as there is memory for, since a log that ends early makes small tables. It is not
   * compressed: RocksDB 7.8 does not always read such a log again (fixed in 7.10.2). */
  options.max_total_wal_size =
      std::max<uint64_t>(16 * 1024 * 1024, o->tuning.lazy_merges ? write_buffer_bytes : 0);
  options.avoid_flush_during_recovery = true;
  options.wal_recovery_mode = o->accept_torn_log ? rocksdb::WALRecoveryMode::kPointInTimeRecovery
                                                 : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  /* One flush and one compaction at a time, if nothing else is said: two cores, shared with the server. */
  options.max_background_jobs = static_cast<int>(o->tuning.background_jobs);
  /* Half of a megabyte at a time on its way to the medium while files are written, so that no sync of the log
   * waits behind a whole file. */
  options.bytes_per_sync = 512 * 1024;
  /* Where the medium is known to be slow, a rate too: its cache swallows the half megabytes, and then stops
   * for seconds. */
  if (o->tuning.background_bytes_per_second > 0)
    options.rate_limiter.reset(
        rocksdb::NewGenericRateLimiter(static_cast<int64_t>(o->tuning.background_bytes_per_second)));
  options.compaction_readahead_size = 256 * 1024;
  /* Few descriptors and table readers; at 16 MB a file enough for 4 GB without opening files again. */
  options.max_open_files = 256;
  options.skip_stats_update_on_db_open = true;
  options.keep_log_file_num = 1;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.max_manifest_file_size = 4 * 1024 * 1024;
  return options;
}

void fill_descriptors(engine *e, size_t write_buffer_bytes, const kv_rocksdb_tuning &tuning) {
  for (unsigned family = 0; family < ENGINE_FAMILY_COUNT; family++)
    e->descriptors.emplace_back(family_names[family],
                                family_options(family, e->cache, write_buffer_bytes, tuning));
}

/* With the defaults. */
kv_rocksdb_tuning complete(kv_rocksdb_tuning tuning) {
  if (tuning.write_buffer_sixteenths == 0)
    tuning.write_buffer_sixteenths = 4;
  if (tuning.level0_tables == 0)
    tuning.level0_tables = 4;
  if (tuning.level_base_bytes == 0)
    tuning.level_base_bytes = 64 * 1024 * 1024;
  if (tuning.level_multiplier == 0)
    tuning.level_multiplier = 10;
  if (tuning.background_jobs == 0)
    tuning.background_jobs = 2;
  return tuning;
}

} // namespace

status engine_open(const engine_options *given, engine **ret) {
  engine_options completed = *given;
  completed.tuning = complete(given->tuning);
  const engine_options *o = &completed;
  std::unique_ptr<engine> e(new engine());
  e->directory = o->directory;
  e->read_only = o->read_only;
  /* Never strict: a cache that refuses makes background jobs fail. Four shards: more would leave each too
   * small for a few large blocks. */
  e->cache = rocksdb::NewLRUCache(o->memory_bytes, 2, false, 0.5);
  /* A quarter for what is not yet in files, if nothing else is said: enough for long flushes, while reads
   * keep the most. It is charged to the cache, which shrinks by what writes take. */
  size_t write_buffer_bytes = o->memory_bytes / 16 * o->tuning.write_buffer_sixteenths;
  e->write_buffers = std::make_shared<rocksdb::WriteBufferManager>(write_buffer_bytes, e->cache);
  fill_descriptors(e.get(), write_buffer_bytes, o->tuning);
  rocksdb::DBOptions options = db_options(o, e.get(), write_buffer_bytes);
  rocksdb::DB *db = nullptr;
  rocksdb::Status s =
      o->read_only ? rocksdb::DB::OpenForReadOnly(options, e->directory, e->descriptors, &e->families, &db)
                   : rocksdb::DB::Open(options, e->directory, e->descriptors, &e->families, &db);
  if (!s.ok())
    return translate(s);
  e->db.reset(db);
  *ret = e.release();
  return status_ok();
}

void engine_close(engine *e, bool flush) {
  if (e == nullptr)
    return;
  if (flush && !e->read_only) {
    status ignored = engine_flush(e); /* the log still has everything */
    (void)ignored;
  }
  rocksdb::CancelAllBackgroundWork(e->db.get(), true);
  for (ColumnFamilyHandle *family : e->families)
    e->db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  e->db->Close().PermitUncheckedError();
  delete e;
}

rocksdb::DB *engine_db(engine *e) {
  return e->db.get();
}

void engine_pin_release(engine_pin *pin) {
  pins.give(static_cast<Pin *>(pin));
}

/* Takes what was read into a pin apart; gives the pin back if there is nothing. */
static status pin_finish(const rocksdb::Status &s, Pin *pin, engine_pin **ret_pin, str *ret,
                         int64_t *ret_version) {
  *ret_pin = nullptr;
  if (s.ok() && pin->slice.size() >= ENGINE_VALUE_PREFIX_BYTES) {
    *ret_pin = pin;
    *ret = str_make(pin->slice.data() + ENGINE_VALUE_PREFIX_BYTES,
                    pin->slice.size() - ENGINE_VALUE_PREFIX_BYTES);
    *ret_version = number_of(pin->slice.data());
    return status_ok();
  }
  pins.give(pin);
  if (s.IsNotFound())
    return status_ok();
  if (s.ok())
    return rocksdb_translate(rocksdb::Status::kCorruption, 0, "a value is shorter than its version");
  return translate(s);
}

status engine_get(engine *e, unsigned family, str key, int64_t version, engine_pin **ret_pin, str *ret,
                  int64_t *ret_version) {
  Timestamp timestamp(static_cast<uint64_t>(version));
  Slice timestamp_slice = timestamp.slice();
  ReadOptions options;
  options.timestamp = &timestamp_slice;
  Pin *pin = pins.take();
  rocksdb::Status s = e->db->Get(options, e->families[family], slice_of(key), &pin->slice);
  return pin_finish(s, pin, ret_pin, ret, ret_version);
}

/* ---- Many gets ----
 *
 * Documents that were numbered, or made one after the other, lie together, and an index has them in that
 * order. One iterator then reads them all for little more than the first: a step costs a tenth of a get. That
 * keys are neighbours shows on the way only, so those that could be are tried, and what turns out to be
 * scattered is read by gets. */
namespace {

const size_t near_count_min = 4;
/* Neighbours differ in their ends; keys made at random differ early, and are not tried. */
const size_t near_tail_bytes = 8;
/* From one key to the next, over what lies between; then a seek is cheaper. */
const int near_steps_max = 8;
/* Deletions and old versions on the way to a key; then gets, which do not meet them. */
const uint64_t near_skips_max = 64;
/* What is longer is not copied but pinned, by gets. */
const size_t near_value_bytes_max = 64 * 1024;
/* RocksDB looks so many up at once. */
const size_t gets_at_once = 32;

enum class Order { Ascending, Descending, None };

/* What is asked for, and the places of the answers. */
struct Many {
  const ReadOptions *options;
  Order order;
  size_t count;
  const str *keys;
  engine_pin **pins;
  str *values;
  int64_t *versions;

  void drop_first(size_t n) {
    count -= n;
    keys += n;
    pins += n;
    values += n;
    versions += n;
  }
};

Order order_of(const str *keys, size_t count) {
  bool ascends = true, descends = true;
  for (size_t i = 1; i < count && (ascends || descends); i++) {
    int order = slice_of(keys[i - 1]).compare(slice_of(keys[i]));
    ascends = ascends && order < 0;
    descends = descends && order > 0;
  }
  return ascends ? Order::Ascending : descends ? Order::Descending : Order::None;
}

bool may_be_near(const Many &many) {
  if (many.count < near_count_min || many.order == Order::None)
    return false;
  Slice first = slice_of(many.keys[0]), last = slice_of(many.keys[many.count - 1]);
  size_t alike = first.difference_offset(last);
  return first.size() <= alike + near_tail_bytes && last.size() <= alike + near_tail_bytes;
}

/* Moves to `key` or, if it is not there, past it. True: by a seek. */
bool move_near(rocksdb::Iterator *it, const Slice &key, bool is_first) {
  for (int steps = 0; !is_first; steps++) {
    if (!it->Valid() || it->key().compare(key) >= 0)
      return false;
    if (steps == near_steps_max)
      break;
    it->Next();
  }
  it->Seek(key);
  return true;
}

/* Reads keys from the lower end and takes them out of `many`: all, or until they are too far apart, or
 * anything is unusual. */
void get_near(engine *e, unsigned family, Many *many) {
  bool descends = many->order == Order::Descending;
  std::string upper = slice_of(many->keys[descends ? 0 : many->count - 1]).ToString();
  upper.push_back('\0');
  Slice upper_slice = upper;
  ReadOptions options = *many->options;
  options.iterate_upper_bound = &upper_slice;
  options.max_skippable_internal_keys = near_skips_max;
  std::unique_ptr<rocksdb::Iterator> it(e->db->NewIterator(options, e->families[family]));
  size_t done = 0, seeks = 0;
  while (many->count > 0 && 2 * seeks <= done + 3) {
    size_t at = descends ? many->count - 1 : 0;
    Slice key = slice_of(many->keys[at]);
    seeks += move_near(it.get(), key, done == 0);
    bool found = it->Valid() && it->key() == key;
    if (!it->Valid() && !it->status().ok())
      return;
    if (found && it->value().size() > near_value_bytes_max)
      return;
    Pin *pin = pins.take();
    if (found)
      pin->slice.PinSelf(it->value());
    rocksdb::Status s = found ? rocksdb::Status::OK() : rocksdb::Status::NotFound();
    status result = pin_finish(s, pin, &many->pins[at], &many->values[at], &many->versions[at]);
    if (!status_is_ok(&result))
      return; /* the get will say it */
    if (descends)
      many->count--;
    else
      many->drop_first(1);
    done++;
  }
}

/* Gets for the first keys of `many`, which it takes out. */
status get_some(engine *e, unsigned family, Many *many) {
  size_t count = std::min(many->count, gets_at_once);
  std::array<Slice, gets_at_once> keys;
  std::array<PinnableSlice, gets_at_once> values;
  std::array<rocksdb::Status, gets_at_once> statuses;
  for (size_t i = 0; i < count; i++)
    keys[i] = slice_of(many->keys[i]);
  e->db->MultiGet(*many->options, e->families[family], count, keys.data(), values.data(), statuses.data(),
                  many->order == Order::Ascending);
  status result = status_ok();
  for (size_t i = 0; i < count; i++) {
    Pin *pin = pins.take();
    pin->slice = std::move(values[i]);
    status one = pin_finish(statuses[i], pin, &many->pins[i], &many->values[i], &many->versions[i]);
    if (!status_is_ok(&one))
      result = one;
  }
  many->drop_first(count);
  return result;
}

} // namespace

status engine_get_many(engine *e, unsigned family, size_t count, const str *keys, int64_t version,
                       engine_pin **ret_pins, str *rets, int64_t *ret_versions) {
  Timestamp timestamp(static_cast<uint64_t>(version));
  Slice timestamp_slice = timestamp.slice();
  ReadOptions options;
  options.timestamp = &timestamp_slice;
  std::fill_n(ret_pins, count, nullptr);
  Many many = {&options, order_of(keys, count), count, keys, ret_pins, rets, ret_versions};
  if (may_be_near(many))
    get_near(e, family, &many);
  status result = status_ok();
  while (many.count > 0 && status_is_ok(&result))
    result = get_some(e, family, &many);
  if (!status_is_ok(&result)) {
    for (size_t i = 0; i < count; i++) {
      if (ret_pins[i] != nullptr)
        engine_pin_release(ret_pins[i]);
      ret_pins[i] = nullptr;
    }
  }
  return result;
}

status engine_key_version(engine *e, unsigned family, str key, int64_t *ret_version) {
  static const Timestamp newest(UINT64_MAX);
  static const Slice newest_slice = newest.slice();
  thread_local std::string found;
  ReadOptions options;
  options.timestamp = &newest_slice;
  Pin *pin = pins.take();
  found.clear();
  rocksdb::Status s = e->db->Get(options, e->families[family], slice_of(key), &pin->slice, &found);
  int64_t version = found.size() == timestamp_bytes ? number_of(found.data()) : 0;
  /* A timestamp that compaction zeroed stands before the value. */
  if (s.ok() && pin->slice.size() >= ENGINE_VALUE_PREFIX_BYTES)
    version = number_of(pin->slice.data());
  pins.give(pin);
  if (!s.ok() && !s.IsNotFound())
    return translate(s);
  *ret_version = version < 0 ? 0 : version;
  return status_ok();
}

status engine_range_changed(engine *e, unsigned family, str lower, str upper, int64_t since,
                            uint64_t entries_max, engine_changed *ret) {
  Timestamp newest(UINT64_MAX), oldest(static_cast<uint64_t>(since) + 1);
  Slice newest_slice = newest.slice(), oldest_slice = oldest.slice(), upper_slice = slice_of(upper);
  ReadOptions options;
  options.timestamp = &newest_slice;
  options.iter_start_ts = &oldest_slice; /* shows every version in between, deletions included */
  options.max_skippable_internal_keys = entries_max;
  if (upper.len > 0)
    options.iterate_upper_bound = &upper_slice;
  std::unique_ptr<rocksdb::Iterator> it(e->db->NewIterator(options, e->families[family]));
  if (lower.len > 0)
    it->Seek(slice_of(lower));
  else
    it->SeekToFirst();
  bool unknown = it->status().IsIncomplete(); /* too many were skipped */
  if (!it->Valid() && !it->status().ok() && !unknown)
    return translate(it->status());
  *ret = unknown ? ENGINE_NOT_KNOWN : it->Valid() ? ENGINE_CHANGED : ENGINE_UNCHANGED;
  return status_ok();
}

status engine_meta_get(engine *e, str key, void *bytes, size_t capacity, size_t *ret_len, bool *ret_found) {
  std::string value;
  rocksdb::Status s = e->db->Get(ReadOptions(), e->families[ENGINE_META], slice_of(key), &value);
  if (!s.ok() && !s.IsNotFound())
    return translate(s);
  *ret_found = s.ok();
  *ret_len = value.size() < capacity ? value.size() : capacity;
  std::memcpy(bytes, value.data(), *ret_len);
  return status_ok();
}

status engine_iter_open(engine *e, unsigned family, str lower, str upper, int64_t version, bool cached,
                        engine_iter **ret) {
  stop_counting();
  std::unique_ptr<engine_iter> iter(new engine_iter(version));
  ReadOptions options;
  if (family < ENGINE_VERSIONED_COUNT)
    options.timestamp = &iter->timestamp_slice;
  if (lower.len > 0) {
    iter->lower.assign(lower.ptr, lower.len);
    iter->lower_slice = iter->lower;
    options.iterate_lower_bound = &iter->lower_slice;
  }
  if (upper.len > 0) {
    iter->upper.assign(upper.ptr, upper.len);
    iter->upper_slice = iter->upper;
    options.iterate_upper_bound = &iter->upper_slice;
  }
  options.fill_cache = cached;
  iter->it.reset(e->db->NewIterator(options, e->families[family]));
  *ret = iter.release();
  return status_ok();
}

void engine_iter_first(engine_iter *iter) {
  iter->it->SeekToFirst();
}
void engine_iter_last(engine_iter *iter) {
  iter->it->SeekToLast();
}
void engine_iter_seek(engine_iter *iter, str key) {
  iter->it->Seek(slice_of(key));
}
void engine_iter_seek_for_prev(engine_iter *iter, str key) {
  iter->it->SeekForPrev(slice_of(key));
}
void engine_iter_next(engine_iter *iter) {
  iter->it->Next();
}
void engine_iter_prev(engine_iter *iter) {
  iter->it->Prev();
}
bool engine_iter_valid(const engine_iter *iter) {
  return iter->it->Valid();
}
str engine_iter_key(const engine_iter *iter) {
  return str_of(iter->it->key());
}
str engine_iter_value(const engine_iter *iter) {
  return str_of(iter->it->value());
}
status engine_iter_status(const engine_iter *iter) {
  return translate(iter->it->status());
}
void engine_iter_close(engine_iter *iter) {
  delete iter;
}

engine_batch *engine_batch_new(void) {
  return new engine_batch();
}
void engine_batch_free(engine_batch *batch) {
  delete batch;
}
void engine_batch_clear(engine_batch *batch) {
  batch->batch.Clear();
  batch->status = rocksdb::Status();
}
size_t engine_batch_bytes(const engine_batch *batch) {
  return batch->batch.GetDataSize();
}

void engine_batch_put(engine *e, engine_batch *batch, unsigned family, str key, int64_t version, str value) {
  Timestamp timestamp(static_cast<uint64_t>(version));
  rocksdb::Status s =
      family < ENGINE_VERSIONED_COUNT
          ? batch->batch.Put(e->families[family], slice_of(key), timestamp.slice(), slice_of(value))
          : batch->batch.Put(e->families[family], slice_of(key), slice_of(value));
  if (!s.ok())
    batch->status = s;
}

void engine_batch_delete(engine *e, engine_batch *batch, unsigned family, str key, int64_t version) {
  Timestamp timestamp(static_cast<uint64_t>(version));
  rocksdb::Status s = family < ENGINE_VERSIONED_COUNT
                          ? batch->batch.Delete(e->families[family], slice_of(key), timestamp.slice())
                          : batch->batch.Delete(e->families[family], slice_of(key));
  if (!s.ok())
    batch->status = s;
}

status engine_write(engine *e, engine_batch *batch, bool sync) {
  if (!batch->status.ok())
    return translate(batch->status);
  rocksdb::WriteOptions options;
  options.sync = sync;
  e->counters.log_bytes.fetch_add(batch->batch.GetDataSize(), std::memory_order_relaxed);
  e->counters.syncs.fetch_add(sync, std::memory_order_relaxed);
  return translate(e->db->Write(options, &batch->batch));
}

status engine_sync(engine *e) {
  e->counters.syncs.fetch_add(1, std::memory_order_relaxed);
  return translate(e->db->SyncWAL());
}

status engine_flush(engine *e) {
  return translate(e->db->Flush(rocksdb::FlushOptions(), e->families));
}

status engine_compact(engine *e) {
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  for (ColumnFamilyHandle *family : e->families) {
    rocksdb::Status s = e->db->CompactRange(options, family, nullptr, nullptr);
    if (!s.ok())
      return translate(s);
  }
  return status_ok();
}

status engine_trim_history(engine *e, int64_t version) {
  Timestamp timestamp(static_cast<uint64_t>(version));
  for (unsigned family = 0; family < ENGINE_VERSIONED_COUNT; family++) {
    rocksdb::Status s = e->db->IncreaseFullHistoryTsLow(e->families[family], timestamp.slice().ToString());
    if (!s.ok())
      return translate(s);
  }
  return status_ok();
}

status engine_drop_before(engine *e, unsigned family, str upper) {
  Slice end = slice_of(upper);
  return translate(rocksdb::DeleteFilesInRange(e->db.get(), e->families[family], nullptr, &end, false));
}

void engine_cache_resize(engine *e, size_t bytes) {
  e->cache->SetCapacity(bytes);
}

uint64_t engine_family_bytes(engine *e, unsigned family) {
  uint64_t bytes = 0;
  e->db->GetIntProperty(e->families[family], rocksdb::DB::Properties::kLiveSstFilesSize, &bytes);
  return bytes;
}

status engine_verify_files(engine *e, void (*report)(void *argument, const char *text), void *argument) {
  std::vector<rocksdb::LiveFileMetaData> files;
  e->db->GetLiveFilesMetaData(&files);
  for (const rocksdb::LiveFileMetaData &file : files) {
    unsigned family = 0;
    while (family < ENGINE_FAMILY_COUNT && file.column_family_name != family_names[family])
      family++;
    if (family == ENGINE_FAMILY_COUNT)
      continue;
    rocksdb::Options options(rocksdb::DBOptions(), e->descriptors[family].options);
    rocksdb::SstFileReader reader(options);
    rocksdb::Status s = reader.Open(file.db_path + file.name);
    if (s.ok())
      s = reader.VerifyChecksum();
    /* A file that compaction removed meanwhile is no damage. */
    if (!s.ok() && !e->db->GetEnv()->FileExists(file.db_path + file.name).IsNotFound())
      report(argument, (file.name + ": " + s.ToString()).c_str());
  }
  return status_ok();
}

void engine_stats_read(engine *e, engine_stats *ret) {
  *ret = {};
  for (ColumnFamilyHandle *family : e->families) {
    uint64_t n = 0;
    if (e->db->GetIntProperty(family, rocksdb::DB::Properties::kLiveSstFilesSize, &n))
      ret->data_bytes += n;
    if (e->db->GetIntProperty(family, rocksdb::DB::Properties::kEstimateNumKeys, &n))
      ret->keys_estimate += n;
  }
  ret->cache_bytes = e->cache->GetUsage();
  ret->write_buffer_bytes = e->write_buffers->memory_usage();
  ret->log_bytes = e->counters.log_bytes.load(std::memory_order_relaxed);
  ret->flushed_bytes = e->counters.flushed_bytes.load(std::memory_order_relaxed);
  ret->compacted_bytes = e->counters.compacted_bytes.load(std::memory_order_relaxed);
  ret->written_bytes = ret->log_bytes + ret->flushed_bytes + ret->compacted_bytes;
  ret->log_syncs = e->counters.syncs.load(std::memory_order_relaxed);
}

void engine_figures_read(engine *e, engine_figures *ret) {
  *ret = {};
  auto number = [e](ColumnFamilyHandle *family, const rocksdb::Slice &property) {
    uint64_t n = 0;
    return e->db->GetIntProperty(family, property, &n) ? n : 0;
  };
  for (ColumnFamilyHandle *family : e->families) {
    for (int level = 0; level < ENGINE_LEVELS; level++) {
      std::string text;
      std::string name = rocksdb::DB::Properties::kNumFilesAtLevelPrefix + std::to_string(level);
      if (e->db->GetProperty(family, name, &text))
        ret->files[level] += std::strtoull(text.c_str(), nullptr, 10);
    }
    ret->compaction_pending_bytes += number(family, rocksdb::DB::Properties::kEstimatePendingCompactionBytes);
    ret->table_readers_bytes += number(family, rocksdb::DB::Properties::kEstimateTableReadersMem);
  }
  ColumnFamilyHandle *any = e->families.front(); /* these are of the whole database */
  ret->compactions_running = number(any, rocksdb::DB::Properties::kNumRunningCompactions);
  ret->flushes_running = number(any, rocksdb::DB::Properties::kNumRunningFlushes);
  ret->delayed_write_bytes_per_second = number(any, rocksdb::DB::Properties::kActualDelayedWriteRate);
  ret->writes_stopped = number(any, rocksdb::DB::Properties::kIsWriteStopped) != 0;
  ret->cache_capacity_bytes = e->cache->GetCapacity();
}
