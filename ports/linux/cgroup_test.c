/* Fake trees in a temporary folder, as real systems show them. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ports/linux/cgroup.h"
#include "ports/linux/pressure.h"
#include "tests/support/unit.h"

static char root[64];

static int make_root(void **state) {
  (void)state;
  strcpy(root, "/tmp/skerry-cgroup-XXXXXX");
  return mkdtemp(root) == NULL;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
  (void)info;
  (void)type;
  (void)walk;
  return remove(path);
}

static int remove_root(void **state) {
  (void)state;
  return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text) {
  char full[512];
  snprintf(full, sizeof full, "%s%s", root, path);
  for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
    *slash = '\0';
    mkdir(full, 0700);
    *slash = '/';
  }
  FILE *file = fopen(full, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

#define MOUNT_V2 "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_OTHER "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"

static void no_groups_no_limit(void **state) {
  (void)state;
  assert_int_equal(cgroup_memory_limit(root), CGROUP_NO_LIMIT);
  put("/proc/self/cgroup", "");
  put("/proc/self/mountinfo", "");
  assert_int_equal(cgroup_memory_limit(root), CGROUP_NO_LIMIT);
  put("/proc/self/cgroup", "0::/\n");
  put("/proc/self/mountinfo", MOUNT_OTHER MOUNT_V2);
  assert_int_equal(cgroup_memory_limit(root), CGROUP_NO_LIMIT);
}

static void version_2_takes_the_smallest_up_to_the_top(void **state) {
  (void)state;
  put("/proc/self/cgroup", "0::/system.slice/skerry.service\n");
  put("/proc/self/mountinfo", MOUNT_OTHER MOUNT_V2);
  put("/sys/fs/cgroup/system.slice/skerry.service/memory.max", "max\n");
  assert_int_equal(cgroup_memory_limit(root), CGROUP_NO_LIMIT);
  put("/sys/fs/cgroup/system.slice/skerry.service/memory.max", "400000000\n");
  assert_int_equal(cgroup_memory_limit(root), 400000000);
  put("/sys/fs/cgroup/system.slice/memory.max", "300000000\n");
  assert_int_equal(cgroup_memory_limit(root), 300000000);
  put("/sys/fs/cgroup/memory.max", "200000000\n");
  assert_int_equal(cgroup_memory_limit(root), 200000000);
  put("/sys/fs/cgroup/system.slice/skerry.service/memory.high", "100000000\n");
  assert_int_equal(cgroup_memory_limit(root), 100000000);
  put("/sys/fs/cgroup/system.slice/other.service/memory.max", "1\n"); /* not ours */
  put("/sys/fs/memory.max", "1\n");                                   /* above the mount */
  assert_int_equal(cgroup_memory_limit(root), 100000000);
}

#define MOUNTS_V1                                                                                            \
  MOUNT_OTHER                                                                                                \
  "40 35 0:35 / /sys/fs/cgroup/cpu,cpuacct rw shared:17 - cgroup cgroup rw,cpu,cpuacct\n"                    \
  "41 35 0:36 / /sys/fs/cgroup/memory rw shared:18 - cgroup cgroup rw,memory\n"
#define UNLIMITED_V1 "9223372036854771712\n"

static void version_1_uses_the_memory_hierarchy(void **state) {
  (void)state;
  put("/proc/self/cgroup", "5:cpu,cpuacct:/cpu/a\n4:memory:/docker/a\n1:name=systemd:/x\n0::/x\n");
  put("/proc/self/mountinfo", MOUNTS_V1);
  put("/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "268435456\n");
  put("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", UNLIMITED_V1);
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED_V1);
  put("/sys/fs/cgroup/cpu,cpuacct/cpu/a/memory.limit_in_bytes", "1\n");
  assert_int_equal(cgroup_memory_limit(root), 268435456);
  put("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "134217728\n");
  assert_int_equal(cgroup_memory_limit(root), 134217728);
}

static void hybrid_systems_obey_both(void **state) {
  (void)state;
  put("/proc/self/cgroup", "4:hugetlb,memory:/a\n0::/b\n");
  put("/proc/self/mountinfo", MOUNTS_V1 "42 35 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "500\n");
  put("/sys/fs/cgroup/unified/b/memory.max", "400\n");
  assert_int_equal(cgroup_memory_limit(root), 400);
  put("/sys/fs/cgroup/unified/b/memory.max", "600\n");
  assert_int_equal(cgroup_memory_limit(root), 500);
}

/* In a container the mount shows the container's own group, whose path the process sees from outside. */
static void mounts_of_a_part_are_understood(void **state) {
  (void)state;
  put("/proc/self/cgroup", "4:memory:/docker/abc/inner\n");
  put("/proc/self/mountinfo", "41 35 0:36 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  put("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "700\n");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "800\n");
  assert_int_equal(cgroup_memory_limit(root), 700);
  put("/proc/self/cgroup", "4:memory:/docker/abc\n");
  assert_int_equal(cgroup_memory_limit(root), 800);
  put("/proc/self/cgroup", "4:memory:/docker/abcd/inner\n"); /* another's: only the mount can be seen */
  assert_int_equal(cgroup_memory_limit(root), 800);
  put("/proc/self/mountinfo", MOUNT_V2);
  put("/proc/self/cgroup", "0::/../../inner\n"); /* outside of the namespace */
  put("/sys/fs/cgroup/memory.max", "900\n");
  put("/inner/memory.max", "1\n");
  assert_int_equal(cgroup_memory_limit(root), 900);
}

static void odd_files_are_no_limit(void **state) {
  (void)state;
  put("/proc/self/cgroup", "nonsense\n\n::\n0::/a:b c\n");
  put("/proc/self/mountinfo", "\n - \n30 24 0:26 / /sys/fs/my\\040groups rw - cgroup2 x rw\nshort");
  put("/sys/fs/my groups/a:b c/memory.max", "123\n");
  assert_int_equal(cgroup_memory_limit(root), 123);
  const char *odd[] = {"", "\n", "0\n", "-5\n", "12x\n", "99999999999999999999999\n"};
  for (size_t i = 0; i < UNIT_COUNT(odd); i++) {
    put("/sys/fs/my groups/a:b c/memory.max", odd[i]);
    assert_int_equal(cgroup_memory_limit(root), CGROUP_NO_LIMIT);
  }
  char path[5001];
  memset(path, 'p', sizeof path - 1);
  memcpy(path, "0::/", 4);
  path[sizeof path - 1] = '\0';
  put("/proc/self/cgroup", path);
  assert_int_equal(cgroup_memory_limit(root), CGROUP_NO_LIMIT);
}

static void usage_is_of_the_fullest_group(void **state) {
  (void)state;
  struct cgroup_usage usage;
  put("/proc/self/cgroup", "0::/system.slice/skerry.service\n");
  put("/proc/self/mountinfo", MOUNT_OTHER MOUNT_V2);
  assert_false(cgroup_memory_usage(root, &usage));
  put("/sys/fs/cgroup/system.slice/memory.max", "1000000\n");
  put("/sys/fs/cgroup/system.slice/memory.current", "500000\n");
  put("/sys/fs/cgroup/system.slice/memory.stat", "anon 300000\ninactive_file 150000\nfile 200000\n");
  assert_true(cgroup_memory_usage(root, &usage));
  assert_int_equal(usage.used_bytes, 350000);
  assert_int_equal(usage.limit_bytes, 1000000);
  put("/sys/fs/cgroup/system.slice/skerry.service/memory.high", "100000\n");
  put("/sys/fs/cgroup/system.slice/skerry.service/memory.current", "90000\n");
  assert_true(cgroup_memory_usage(root, &usage));
  assert_int_equal(usage.used_bytes, 90000);
  assert_int_equal(usage.limit_bytes, 100000);
  put("/sys/fs/cgroup/system.slice/skerry.service/memory.stat", "inactive_file 99999999\n"); /* read later */
  assert_true(cgroup_memory_usage(root, &usage));
  assert_int_equal(usage.limit_bytes, 1000000);
}

static void usage_of_version_1(void **state) {
  (void)state;
  struct cgroup_usage usage;
  put("/proc/self/cgroup", "4:memory:/docker/a\n");
  put("/proc/self/mountinfo", MOUNTS_V1);
  put("/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", UNLIMITED_V1);
  assert_false(cgroup_memory_usage(root, &usage));
  put("/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "1000\n");
  put("/sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes", "900\n");
  put("/sys/fs/cgroup/memory/docker/a/memory.stat", "cache 500\ninactive_file 1\ntotal_inactive_file 400\n");
  assert_true(cgroup_memory_usage(root, &usage));
  assert_int_equal(usage.used_bytes, 500);
  assert_int_equal(usage.limit_bytes, 1000);
}

static void processors_are_counted_by_quota(void **state) {
  (void)state;
  put("/proc/self/cgroup", "0::/a/b\n");
  put("/proc/self/mountinfo", MOUNT_V2);
  assert_int_equal(cgroup_cpu_limit(root), CGROUP_NO_LIMIT);
  put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  assert_int_equal(cgroup_cpu_limit(root), CGROUP_NO_LIMIT);
  put("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  assert_int_equal(cgroup_cpu_limit(root), 2500);
  put("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  assert_int_equal(cgroup_cpu_limit(root), 500);
  const char *odd[] = {"", "\n", "5\n", "5 \n", "5 0\n", "0 5\n", "x y\n", "99999999999999999999 1\n"};
  for (size_t i = 0; i < UNIT_COUNT(odd); i++) {
    put("/sys/fs/cgroup/a/b/cpu.max", odd[i]);
    assert_int_equal(cgroup_cpu_limit(root), 2500);
  }
}

static void processors_of_version_1(void **state) {
  (void)state;
  put("/proc/self/cgroup", "5:cpu,cpuacct:/c\n4:memory:/m\n");
  put("/proc/self/mountinfo", MOUNTS_V1);
  put("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "-1\n");
  put("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
  assert_int_equal(cgroup_cpu_limit(root), CGROUP_NO_LIMIT);
  put("/sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "150000\n");
  assert_int_equal(cgroup_cpu_limit(root), 1500);
}

static void stalls_are_told_by_the_own_group(void **state) {
  (void)state;
  char path[512], wanted[512];
  put("/proc/self/cgroup", "0::/a\n");
  put("/proc/self/mountinfo", MOUNT_V2);
  put("/sys/fs/cgroup/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n");
  assert_false(cgroup_pressure_path(root, path, sizeof path)); /* of everybody: /proc/pressure says it */
  put("/sys/fs/cgroup/a/memory.pressure",
      "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull total=9\n");
  assert_true(cgroup_pressure_path(root, path, sizeof path));
  snprintf(wanted, sizeof wanted, "%s/sys/fs/cgroup/a/memory.pressure", root);
  assert_string_equal(path, wanted);
  assert_int_equal(pressure_total_us(path), 1234);
  assert_int_equal(pressure_total_us("/nowhere"), 0);
  int fd = -1;
  assert_false(pressure_trigger_wait(&fd, 1)); /* without a trigger it only waits */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(no_groups_no_limit, make_root, remove_root),
      cmocka_unit_test_setup_teardown(version_2_takes_the_smallest_up_to_the_top, make_root, remove_root),
      cmocka_unit_test_setup_teardown(version_1_uses_the_memory_hierarchy, make_root, remove_root),
      cmocka_unit_test_setup_teardown(hybrid_systems_obey_both, make_root, remove_root),
      cmocka_unit_test_setup_teardown(mounts_of_a_part_are_understood, make_root, remove_root),
      cmocka_unit_test_setup_teardown(odd_files_are_no_limit, make_root, remove_root),
      cmocka_unit_test_setup_teardown(usage_is_of_the_fullest_group, make_root, remove_root),
      cmocka_unit_test_setup_teardown(usage_of_version_1, make_root, remove_root),
      cmocka_unit_test_setup_teardown(processors_are_counted_by_quota, make_root, remove_root),
      cmocka_unit_test_setup_teardown(processors_of_version_1, make_root, remove_root),
      cmocka_unit_test_setup_teardown(stalls_are_told_by_the_own_group, make_root, remove_root),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
