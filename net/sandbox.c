#include "net/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILES_MAX = 128, DATA_BYTES_MAX = 256 * 1024 * 1024 };

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__arm__)
#define OWN_ARCHITECTURE AUDIT_ARCH_ARM
#endif

static status become(const char *user) {
  errno = 0;
  const struct passwd *entry = getpwnam(user); // cppcheck-suppress getpwnamCalled ; there is one thread yet
  if (entry == NULL)
    return status_make(STATUS_FAILED_PRECONDITION, "there is no user \"%s\"", user);
  if (entry->pw_uid == 0)
    return status_make(STATUS_FAILED_PRECONDITION, "the user \"%s\" is root", user);
  if (setgroups(0, NULL) != 0 || setgid(entry->pw_gid) != 0 || setuid(entry->pw_uid) != 0)
    return status_make(STATUS_FAILED_PRECONDITION, "cannot become the user \"%s\": %s", user,
                       strerror(errno));
  return status_ok();
}

static void limit(int resource, rlim_t most) {
  struct rlimit now;
  if (getrlimit((__rlimit_resource_t)resource, &now) != 0)
    return;
  now.rlim_cur = now.rlim_cur < most ? now.rlim_cur : most;
  now.rlim_max = now.rlim_max < most ? now.rlim_max : most;
  setrlimit((__rlimit_resource_t)resource, &now);
}

#ifdef OWN_ARCHITECTURE
static const uint32_t refused[] = {
    /* programs and other processes */
    __NR_execve,
    __NR_execveat,
    __NR_process_vm_readv,
    __NR_process_vm_writev,
    __NR_kill,
#ifndef __SANITIZE_ADDRESS__ /* which looks for leaks so at the end */
    __NR_ptrace,
#endif
    /* files: to read them is needed (resolv.conf, certificates) */
    __NR_unlinkat,
    __NR_linkat,
    __NR_symlinkat,
    __NR_mkdirat,
    __NR_mknodat,
    __NR_fchmodat,
    __NR_fchmod,
    __NR_fchown,
    __NR_fchownat,
    __NR_truncate,
    __NR_ftruncate,
    __NR_renameat2,
    __NR_setxattr,
#ifdef __NR_renameat
    __NR_renameat,
#endif
#ifdef __NR_unlink /* not on arm64 */
    __NR_unlink,
    __NR_link,
    __NR_symlink,
    __NR_mkdir,
    __NR_rmdir,
    __NR_mknod,
    __NR_chmod,
    __NR_chown,
    __NR_lchown,
    __NR_rename,
    __NR_creat,
#endif
    /* callers */
    __NR_listen,
    __NR_accept4,
#ifdef __NR_accept
    __NR_accept,
#endif
    /* the system */
    __NR_mount,
    __NR_umount2,
    __NR_pivot_root,
    __NR_chroot,
    __NR_unshare,
    __NR_setns,
    __NR_bpf,
    __NR_perf_event_open,
    __NR_userfaultfd,
    __NR_init_module,
    __NR_finit_module,
    __NR_delete_module,
    __NR_kexec_load,
    __NR_reboot,
    __NR_swapon,
    __NR_swapoff,
    __NR_keyctl,
    __NR_add_key,
    __NR_request_key,
    __NR_open_by_handle_at,
    __NR_setuid,
    __NR_setgid,
    __NR_settimeofday,
    __NR_clock_settime,
    __NR_adjtimex,
};
enum { REFUSED = sizeof refused / sizeof refused[0], FILTER_LEN = 4 + REFUSED + 2 };

static void filter_system_calls(void) {
  struct sock_filter filter[FILTER_LEN];
  size_t at = 0;
  /* Jumps count from the next instruction; "refuse" is the last one. */
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  filter[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCHITECTURE, 0,
                                            (uint8_t)(FILTER_LEN - 1 - (at + 1)));
  at++;
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  /* x86-64 has a second set of the same calls from 2^30 on. */
  filter[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000,
                                            (uint8_t)(FILTER_LEN - 1 - (at + 1)), 0);
  at++;
  for (size_t i = 0; i < REFUSED; i++, at++)
    filter[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i],
                                              (uint8_t)(FILTER_LEN - 1 - (at + 1)), 0);
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  struct sock_fprog program = {.len = (unsigned short)at, .filter = filter};
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}
#else
static void filter_system_calls(void) {}
#endif

status sandbox_enter(const char *user) {
  if (user != NULL && geteuid() == 0)
    STATUS_TRY(become(user));
#ifndef __SANITIZE_ADDRESS__
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NOFILE, FILES_MAX);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they map all there is */
  limit(RLIMIT_DATA, DATA_BYTES_MAX);
#endif
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return status_make(STATUS_FAILED_PRECONDITION, "cannot give up new privileges: %s", strerror(errno));
  filter_system_calls();
  return status_ok();
}
