// A client on Debian's C++ gRPC, as on phones and in other servers: no generated code, two unary calls over
// TLS.
//
//   grpcpp_client HOST:PORT AUTHORITY.pem DOCUMENT [CERTIFICATE.pem KEY.pem]
//
// Prints a line a call: its method, the number of its status, and the bytes of its response in hexadecimal or
// its text.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

static const int kCallSeconds = 10;

static std::string read_file(const char *path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

// Field 1 of a message, a string that is shorter than 16 KiB.
static std::string string_field(const std::string &text) {
  std::string message = "\n";
  if (text.size() >= 128)
    message += static_cast<char>(text.size() % 128 + 128);
  message += static_cast<char>(text.size() >= 128 ? text.size() / 128 : text.size());
  return message + text;
}

static std::string hexadecimal(const grpc::ByteBuffer &buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!buffer.Valid() || !buffer.Dump(&slices).ok())
    return text;
  for (const grpc::Slice &slice : slices)
    for (const uint8_t byte : slice) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
  return text;
}

static void call(const std::shared_ptr<grpc::Channel> &channel, const char *method,
                 const std::string &request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(kCallSeconds));
  grpc::Slice slice(request);
  auto pending = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&slice, 1), &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  void *tag = nullptr;
  bool ok = false;
  pending->StartCall();
  pending->Finish(&response, &status, &tag);
  queue.Next(&tag, &ok);
  std::printf("%s %d %s\n", method, static_cast<int>(status.error_code()),
              status.ok() ? hexadecimal(response).c_str() : status.error_message().c_str());
}

int main(int argc, char **argv) {
  if (argc != 4 && argc != 6) {
    std::fprintf(stderr, "usage: %s HOST:PORT AUTHORITY.pem DOCUMENT [CERTIFICATE.pem KEY.pem]\n", argv[0]);
    return 2;
  }
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = read_file(argv[2]);
  if (argc == 6) {
    options.pem_cert_chain = read_file(argv[4]);
    options.pem_private_key = read_file(argv[5]);
  }
  auto channel = grpc::CreateChannel(argv[1], grpc::SslCredentials(options));
  call(channel, "/grpc.health.v1.Health/Check", "");
  call(channel, "/google.firestore.v1.Firestore/GetDocument", string_field(argv[3]));
  return 0;
}
