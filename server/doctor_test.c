#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ports/simulated.h"
#include "server/doctor.h"
#include "tests/support/unit.h"

#define MIB (UINT64_C(1) << 20)

static struct port_simulated *machine;
static char directory[64];
static char *text; /* of the last examination */

static int setup(void **state) {
  (void)state;
  strcpy(directory, "/tmp/skerry-doctor-XXXXXX");
  machine = port_simulated_new();
  port_simulated_set_descriptors(machine, 65536);
  return mkdtemp(directory) == NULL || machine == NULL;
}

static int teardown(void **state) {
  (void)state;
  free(text);
  text = NULL;
  port_simulated_free(machine);
  return rmdir(directory);
}

/* With these flags beside --data. */
static unsigned examine(const char *data, const char *flag, const char *value) {
  struct settings settings;
  const char *argv[] = {"--data", data, flag, value};
  assert_status_ok(settings_load(&settings, flag == NULL ? 2 : 4, (char *const *)(uintptr_t)argv, NULL));
  size_t size;
  free(text);
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  unsigned wrongs = doctor_examine(&settings, port_simulated_port(machine), out);
  fclose(out);
  settings_fini(&settings);
  return wrongs;
}

static void says(const char *words) {
  /* Folded lines: one blank for each run of white space. */
  char flat[8192];
  size_t used = 0;
  for (const char *at = text; *at != '\0' && used + 2 < sizeof flat; at++) {
    bool blank = *at == ' ' || *at == '\n';
    if (!blank || (used > 0 && flat[used - 1] != ' '))
      flat[used++] = blank ? ' ' : *at;
  }
  flat[used] = '\0';
  if (strstr(flat, words) == NULL)
    fail_msg("\"%s\" is not in:\n%s", words, text);
}

static void a_good_machine(void **state) {
  (void)state;
  assert_int_equal(examine(directory, NULL, NULL), 0);
  says("(no store yet)");
  says("a sync takes ");
  says("46 GiB of 93 GiB free");
  says("1.0 GiB for this process");
  says("clock 2026-01-01 00:00:00 UTC, synchronised");
  says("2 cores, pages of 4 KiB");
  says("profile small fits memory_limit 256 MiB; set MemoryMax= of the unit to 384 MiB");
}

static void a_directory_that_is_missing(void **state) {
  (void)state;
  char missing[128];
  snprintf(missing, sizeof missing, "%s/not/there", directory);
  assert_int_equal(examine(missing, NULL, NULL), 0);
  says("not there yet: the server makes it");
  says("a sync takes "); /* measured above it, and nothing is made */
  struct stat about;
  assert_int_equal(stat(missing, &about), -1);
}

static void a_directory_of_others(void **state) {
  (void)state;
  char file[128];
  snprintf(file, sizeof file, "%s/letter.txt", directory);
  int fd = open(file, O_CREAT | O_WRONLY, 0600);
  assert_true(fd >= 0);
  close(fd);
  assert_int_equal(examine(directory, NULL, NULL), 1);
  says("holds files, but no store of Skerry");
  assert_int_equal(examine(file, NULL, NULL), 2);
  says("is not a directory");
  unlink(file);
}

static void a_medium_that_can_only_be_read(void **state) {
  (void)state;
  port_simulated_set_disk(machine, (struct port_disk){50 * MIB, 900 * MIB, true});
  assert_int_equal(examine(directory, NULL, NULL), 2);
  says("mounted for reading only");
  says("Only 50 MiB are free");
  port_simulated_fail_disk(machine, true);
  assert_int_equal(examine(directory, NULL, NULL), 1);
  says("does not tell the space");
}

static void clocks(void **state) {
  (void)state;
  port_simulated_set_synchronised(machine, false);
  assert_int_equal(examine(directory, NULL, NULL), 1);
  says("Nobody keeps the clock right");
  assert_int_equal(examine(directory, "--clock", "trusted"), 0);
  says("trusted by the settings");
  port_simulated_set_wall(machine, 12345678);
  assert_int_equal(examine(directory, "--clock", "trusted"), 1);
  says("clock 1970-01-01 00:00:12 UTC");
  says("The clock is years behind");
}

static void small_and_odd_machines(void **state) {
  (void)state;
  port_simulated_set_memory(machine, (struct port_memory){.limit_bytes = 48 * MIB});
  port_simulated_set_pressure(
      machine, (struct port_pressure){.used_bytes = 47 * MIB, .limit_bytes = 48 * MIB, .stalled = true});
  port_simulated_set_page(machine, 65536);
  port_simulated_set_cores(machine, 1);
  port_simulated_set_descriptors(machine, 256);
  port_simulated_lack_entropy(machine, 1);
  assert_int_equal(examine(directory, NULL, NULL), 4);
  says("48 MiB are too little");
  says("1 core, pages of 64 KiB");
  says("processes are waiting for memory");
  says("profile tiny fits");
  says("The limit of open files is 256");
  says("has no random numbers yet");
}

static void settings_that_do_not_fit(void **state) {
  (void)state;
  assert_int_equal(examine(directory, "--profile", "large"), 1);
  says("small fits, the settings say large");
  says("profile = large is for larger machines");
  assert_int_equal(examine(directory, "--memory-limit", "900M"), 1);
  says("memory_limit is 900 MiB of 1.0 GiB");
  assert_int_equal(examine(directory, "--memory-limit", "16M"), 1);
  says("must be 48M at least");
  assert_int_equal(examine(directory, "--connections-max", "50000"), 0);
  says("must be 150512");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_good_machine, setup, teardown),
      cmocka_unit_test_setup_teardown(a_directory_that_is_missing, setup, teardown),
      cmocka_unit_test_setup_teardown(a_directory_of_others, setup, teardown),
      cmocka_unit_test_setup_teardown(a_medium_that_can_only_be_read, setup, teardown),
      cmocka_unit_test_setup_teardown(clocks, setup, teardown),
      cmocka_unit_test_setup_teardown(small_and_odd_machines, setup, teardown),
      cmocka_unit_test_setup_teardown(settings_that_do_not_fit, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
