/* Replays every file of the folders and files named as arguments through LLVMFuzzerTestOneInput, so that a
 * corpus is a regression test in every build, with any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    return 1;
  }
  uint8_t *data = NULL;
  size_t size = 0, capacity = 0, got = 0;
  do {
    size += got;
    if (size == capacity) {
      capacity = capacity == 0 ? 4096 : capacity * 2;
      data = realloc(data, capacity);
      if (data == NULL)
        abort();
    }
    // cppcheck-suppress nullPointerArithmetic ; the first round allocates
    got = fread(data + size, 1, capacity - size, file);
  } while (got > 0);
  fclose(file);
  /* An exact copy, so that a sanitizer sees one byte past the end. */
  uint8_t *exact = malloc(size == 0 ? 1 : size);
  if (exact == NULL)
    abort();
  memcpy(exact, data, size);
  LLVMFuzzerTestOneInput(exact, size);
  free(exact);
  free(data);
  return 0;
}

static int replay_path(const char *path) {
  struct stat info;
  if (stat(path, &info) != 0) {
    perror(path);
    return 1;
  }
  if (!S_ISDIR(info.st_mode))
    return replay_file(path);
  DIR *directory = opendir(path);
  if (directory == NULL) {
    perror(path);
    return 1;
  }
  int failed = 0, files = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.')
      continue;
    char child[4096];
    snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
    failed |= replay_file(child);
    files++;
  }
  closedir(directory);
  if (files == 0) {
    fprintf(stderr, "%s: no corpus file found\n", path);
    return 1;
  }
  return failed;
}

int main(int argc, char **argv) {
  int failed = argc < 2;
  for (int i = 1; i < argc; i++)
    failed |= replay_path(argv[i]);
  return failed;
}
