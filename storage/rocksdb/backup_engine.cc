/* What RocksDB 7.8's backup engine does, read in its headers, and what we do about it:
 * - A progress callback must not throw; it stops the backup by StopBackup, which only sets a flag.
 * - After a backup that failed its files stay until the next: we collect them at once, by an engine of its
 *   own.
 * - Table files are named by the session that made them and their length, so an incremental backup reads
 *   nothing that is there already, and files of two stores never meet.
 * - VerifyBackup can neither be stopped nor slowed down. So we compare the checksums that it keeps ourselves:
 *   a file of meta/ has a line "PATH crc32 NUMBER" for each file. Should that ever look different,
 * VerifyBackup has the word. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* compound literals */
extern "C" {
#include "base/crypto.h"
#include "base/status.h"
}
#pragma GCC diagnostic pop
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <rocksdb/env.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/utilities/backup_engine.h>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "storage/rocksdb/backup_engine.h"
#include "storage/rocksdb/engine_db.h"
#include "storage/rocksdb/translate.h"

namespace {

using rocksdb::BackupEngine;
using rocksdb::BackupEngineOptions;
using rocksdb::BackupEngineReadOnly;
using rocksdb::BackupFileInfo;
using rocksdb::BackupInfo;
using rocksdb::Env;

status translate(const rocksdb::Status &s) {
  return s.ok() ? status_ok() : rocksdb_translate(s.code(), s.subcode(), s.ToString().c_str());
}

status stopped() {
  return status_make(STATUS_CANCELLED, "The backup was stopped.");
}

BackupEngineOptions options_of(const char *directory) {
  BackupEngineOptions options(directory);
  options.callback_trigger_interval_size = BACKUP_STEP_BYTES;
  return options;
}

status open_to_write(const BackupEngineOptions &options, std::unique_ptr<BackupEngine> *ret) {
  BackupEngine *engine = nullptr;
  rocksdb::Status s = BackupEngine::Open(options, Env::Default(), &engine);
  ret->reset(engine);
  return translate(s);
}

status open_to_read(const char *directory, std::unique_ptr<BackupEngineReadOnly> *ret) {
  BackupEngineReadOnly *engine = nullptr;
  rocksdb::Status s = BackupEngineReadOnly::Open(options_of(directory), Env::Default(), &engine);
  ret->reset(engine);
  return translate(s);
}

std::string shared_directory(const char *directory) {
  return std::string(directory) + "/shared_checksum";
}

std::set<std::string> shared_files(const char *directory) {
  std::vector<std::string> names;
  if (!Env::Default()->GetChildren(shared_directory(directory), &names).ok())
    return {};
  return std::set<std::string>(names.begin(), names.end());
}

/* "/000123.sst" of 4567 bytes is shared as "000123_s<session>_4567.sst". */
bool is_shared(const std::set<std::string> &shared, const std::string &name, uint64_t size) {
  size_t begin = name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1;
  std::string number = name.substr(begin, name.rfind('.') - begin) + "_s";
  std::string tail = "_" + std::to_string(size) + ".sst";
  for (auto at = shared.lower_bound(number); at != shared.end() && at->compare(0, number.size(), number) == 0;
       ++at) {
    if (at->size() > tail.size() && at->compare(at->size() - tail.size(), tail.size(), tail) == 0)
      return true;
  }
  return false;
}

/* Bytes of the backup's files that were not there before. */
uint64_t copied_bytes(const BackupInfo &info, const std::set<std::string> &before) {
  uint64_t bytes = 0;
  for (const BackupFileInfo &file : info.file_details) {
    std::string name = file.relative_filename.substr(file.relative_filename.rfind('/') + 1);
    if (before.count(name) == 0)
      bytes += file.size;
  }
  return bytes;
}

void collect_garbage(const char *directory) {
  std::unique_ptr<BackupEngine> engine;
  status s = open_to_write(options_of(directory), &engine);
  if (status_is_ok(&s))
    engine->GarbageCollect().PermitUncheckedError(); /* the next backup does it else */
}

/* Not faster than so many bytes a second, by looking at how long it took so far. */
class Pace {
public:
  explicit Pace(uint64_t bytes_per_second) : rate_(bytes_per_second), begin_(Clock::now()) {}
  void keep(uint64_t bytes_done) {
    if (rate_ == 0)
      return;
    auto due = begin_ + std::chrono::microseconds(static_cast<int64_t>(static_cast<double>(bytes_done) * 1e6 /
                                                                       static_cast<double>(rate_)));
    std::this_thread::sleep_until(due);
  }

private:
  using Clock = std::chrono::steady_clock;
  uint64_t rate_;
  Clock::time_point begin_;
};

/* What a backup is made of: paths below the directory, and their checksums. */
std::map<std::string, uint32_t> kept_checksums(const char *directory, uint32_t id) {
  static const std::string mark = " crc32 ";
  std::map<std::string, uint32_t> kept;
  std::ifstream in(std::string(directory) + "/meta/" + std::to_string(id));
  for (std::string line; std::getline(in, line);) {
    size_t at = line.rfind(mark);
    if (at != std::string::npos)
      kept[line.substr(0, at)] =
          static_cast<uint32_t>(std::strtoul(line.c_str() + at + mark.size(), nullptr, 10));
  }
  return kept;
}

/* Verification under way. */
struct Check {
  Pace pace;
  backup_step *step;
  void *argument;
  uint64_t done;
};

status verify_file(const std::string &path, uint64_t size, uint32_t checksum, Check *check) {
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> in(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!in)
    return status_make(STATUS_DATA_LOSS, "The backup's file %s is missing.", path.c_str());
  std::vector<char> bytes(BACKUP_STEP_BYTES);
  uint32_t crc = 0;
  uint64_t length = 0;
  for (size_t n; (n = std::fread(bytes.data(), 1, bytes.size(), in.get())) > 0;) {
    crc = crypto_crc32c(crc, str_make(bytes.data(), n));
    length += n;
    check->done += n;
    check->pace.keep(check->done);
    if (check->step != nullptr && !check->step(check->argument, check->done))
      return stopped();
  }
  if (std::ferror(in.get()) != 0)
    return status_make(STATUS_DATA_LOSS, "The backup's file %s cannot be read.", path.c_str());
  if (length != size || crc != checksum)
    return status_make(STATUS_DATA_LOSS, "The backup's file %s is damaged: it is not what was written.",
                       path.c_str());
  return status_ok();
}

} // namespace

status backup_engine_needs(engine *e, const char *directory, uint64_t *ret) {
  std::vector<rocksdb::LiveFileMetaData> files;
  std::set<std::string> shared = shared_files(directory);
  engine_db(e)->GetLiveFilesMetaData(&files);
  uint64_t bytes = 0;
  for (const rocksdb::LiveFileMetaData &file : files) {
    if (!is_shared(shared, file.name, file.size))
      bytes += file.size;
  }
  engine_stats stats;
  engine_stats_read(e, &stats);
  *ret = bytes + stats.write_buffer_bytes;
  return status_ok();
}

status backup_engine_create(engine *e, const backup_job *job, uint32_t *ret_id, uint64_t *ret_copied_bytes) {
  BackupEngineOptions options = options_of(job->directory);
  if (job->bytes_per_second > 0)
    options.backup_rate_limiter.reset(
        rocksdb::NewGenericRateLimiter(static_cast<int64_t>(job->bytes_per_second)));
  std::unique_ptr<BackupEngine> backups;
  STATUS_TRY(open_to_write(options, &backups));
  std::set<std::string> before = shared_files(job->directory);
  uint64_t done = 0;
  bool is_stopped = false;
  rocksdb::CreateBackupOptions how;
  how.flush_before_backup = job->flush;
  how.decrease_background_thread_cpu_priority = true;
  how.background_thread_cpu_priority = rocksdb::CpuPriority::kLow;
  how.progress_callback = [&]() { /* one file after the other: never at the same time */
                                  done += BACKUP_STEP_BYTES;
                                  if (job->step != nullptr && !is_stopped &&
                                      !job->step(job->argument, done)) {
                                    is_stopped = true;
                                    backups->StopBackup();
                                  }
  };
  rocksdb::BackupID id = 0;
  rocksdb::Status s =
      backups->CreateNewBackupWithMetadata(how, engine_db(e), std::string(job->note.ptr, job->note.len), &id);
  BackupInfo info;
  if (s.ok())
    s = backups->GetBackupInfo(id, &info, true);
  backups.reset();
  if (!s.ok()) {
    collect_garbage(job->directory);
    return is_stopped ? stopped() : translate(s);
  }
  *ret_id = id;
  *ret_copied_bytes = copied_bytes(info, before);
  return status_ok();
}

status backup_engine_visit(const char *directory, void (*visit)(void *argument, const backup_facts *facts),
                           void *argument) {
  std::unique_ptr<BackupEngineReadOnly> backups;
  STATUS_TRY(open_to_read(directory, &backups));
  std::vector<BackupInfo> infos;
  std::vector<rocksdb::BackupID> damaged;
  backups->GetBackupInfo(&infos);
  backups->GetCorruptedBackups(&damaged);
  std::set<rocksdb::BackupID> ids(damaged.begin(), damaged.end());
  for (const BackupInfo &info : infos)
    ids.insert(info.backup_id);
  for (rocksdb::BackupID id : ids) {
    BackupInfo info;
    rocksdb::Status s = backups->GetBackupInfo(id, &info);
    std::string damage = s.ToString();
    backup_facts facts = {id, info.size, info.number_files,
                          str_make(info.app_metadata.data(), info.app_metadata.size()),
                          s.ok() ? nullptr : damage.c_str()};
    visit(argument, &facts);
  }
  return status_ok();
}

status backup_engine_verify(const char *directory, uint32_t id, uint64_t bytes_per_second, backup_step *step,
                            void *argument) {
  std::unique_ptr<BackupEngineReadOnly> backups;
  STATUS_TRY(open_to_read(directory, &backups));
  BackupInfo info;
  STATUS_TRY(translate(backups->GetBackupInfo(id, &info, true)));
  std::map<std::string, uint32_t> kept = kept_checksums(directory, id);
  Check check = {Pace(bytes_per_second), step, argument, 0};
  for (const BackupFileInfo &file : info.file_details) {
    auto found = kept.find(file.relative_filename);
    if (found == kept.end())
      return translate(backups->VerifyBackup(id, true));
    std::string path = std::string(directory) + "/" + file.relative_filename;
    /* A file that was cut has another length, but the engine goes by what it found when it was opened. */
    STATUS_TRY(verify_file(path, file.size, found->second, &check));
  }
  return status_ok();
}

status backup_engine_delete(const char *directory, const uint32_t *ids, size_t count) {
  std::unique_ptr<BackupEngine> backups;
  STATUS_TRY(open_to_write(options_of(directory), &backups));
  for (size_t i = 0; i < count; i++)
    STATUS_TRY(translate(backups->DeleteBackup(ids[i])));
  return status_ok();
}

status backup_engine_restore(const char *directory, uint32_t id, const char *target) {
  std::unique_ptr<BackupEngineReadOnly> backups;
  STATUS_TRY(open_to_read(directory, &backups));
  return translate(backups->RestoreDBFromBackup(id, target, target));
}
