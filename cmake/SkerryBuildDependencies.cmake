# Libraries that the `skerry` process does not have.
skerry_dependency(grpc_openssl LIBRARIES grpc gpr) # only what is measured against: it loads OpenSSL
skerry_dependency(curl LIBRARIES curl)             # for skerry-net only: it loads OpenSSL
skerry_dependency(cmocka LIBRARIES cmocka)
