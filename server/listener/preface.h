/* How every HTTP/2 client begins: the connection preface of RFC 9113, section 3.4. */
#ifndef SKERRY_SERVER_LISTENER_PREFACE_H
#define SKERRY_SERVER_LISTENER_PREFACE_H

#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
enum { HTTP2_PREFACE_BYTES = sizeof HTTP2_PREFACE - 1 };

#endif
