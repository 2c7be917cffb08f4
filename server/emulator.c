#include "server/emulator.h"

#include <stdio.h>

#include "server/firestore/erase.h"

enum { NAME_BYTES_MAX = 1024 };

static void erase(void *argument, struct gateway_request *request) {
  struct firestore_service *firestore = argument;
  str project = gateway_request_variable(request, "project");
  str database = gateway_request_variable(request, "database");
  char name[NAME_BYTES_MAX];
  int len = snprintf(name, sizeof name, "projects/" STR_FMT "/databases/" STR_FMT, STR_ARG(project),
                     STR_ARG(database));
  status result = len > 0 && (size_t)len < sizeof name
                      ? firestore_erase_database(firestore, name)
                      : status_make(STATUS_INVALID_ARGUMENT, "The name of the database is too long.");
  if (status_is_ok(&result))
    gateway_answer(request, 200, "application/json; charset=UTF-8", STR("{}\n"));
  else
    gateway_answer_status(request, result);
}

status emulator_register(struct gateway *gateway, struct firestore_service *firestore) {
  return gateway_route(gateway, "DELETE", "/emulator/v1/projects/{project}/databases/{database}/documents",
                       erase, firestore);
}
