/* Published examples of signed tokens: RFC 7515, appendix A.2 (RS256) and A.3 (ES256); RFC 8037, appendix A.4
 * (EdDSA). All values base64url. */
#ifndef SKERRY_TESTS_SUPPORT_JOSE_VECTORS_H
#define SKERRY_TESTS_SUPPORT_JOSE_VECTORS_H

#define JOSE_RSA_N                                                                                           \
  "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SF" \
  "d2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo" \
  "7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkM" \
  "Ls91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define JOSE_RSA_E "AQAB"
#define JOSE_EC_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define JOSE_EC_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define JOSE_ED_X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

/* {"iss":"joe", "exp":1300819380, "http://example.com/is_root":true} */
#define JOSE_JOE_PAYLOAD                                                                                     \
  "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define JOSE_RSA_INPUT "eyJhbGciOiJSUzI1NiJ9." JOSE_JOE_PAYLOAD
#define JOSE_RSA_SIGNATURE                                                                                   \
  "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb" \
  "F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383" \
  "LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy" \
  "wlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define JOSE_EC_INPUT "eyJhbGciOiJFUzI1NiJ9." JOSE_JOE_PAYLOAD
#define JOSE_EC_SIGNATURE                                                                                    \
  "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
/* The payload is "Example of Ed25519 signing": no JWT. */
#define JOSE_ED_INPUT "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
#define JOSE_ED_SIGNATURE                                                                                    \
  "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

#endif
