/* Writes the .skerry.h and .skerry.c of a file. */
#ifndef SKERRY_CODEGEN_EMIT_H
#define SKERRY_CODEGEN_EMIT_H

#include "codegen/service.h"

/* `include_prefix`: of options.h. */
void emit_header(struct buf *out, const struct service_file *file, const char *include_prefix);
void emit_source(struct buf *out, struct arena *arena, const struct service_file *file);

/* A string literal, quoted. */
void emit_string(struct buf *out, const char *text);

#endif
