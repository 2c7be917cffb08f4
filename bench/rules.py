"""The section `rules` of bench/run: what it costs to know who calls and to ask security rules. GetDocument with a token and
a rule, beside GetDocument without rules, on the same program."""

import base64
import json
import os
import re
import subprocess
import time
import urllib.request

import loads
import systems

PROJECT = "demo-bench"
DATABASE = f"projects/{PROJECT}/databases/(default)"
OWNER_ONLY = "match /users/{id} { allow read, write: if request.auth.uid == id; }"
OF_A_FIELD = "match /users/{id} { allow read, write: if request.auth.uid == resource.data.owner; }"
BY_ROLE = "match /users/{id} { allow read: if get(/databases/$(database)/documents/roles/$(request.auth.uid)).data.role == 'admin'; }"


def rules(matches):
    return ("rules_version = '2';\nservice cloud.firestore { match /databases/{database}/documents {\n" + matches + "\n} }\n")


def token():
    """As long as one of Firebase Authentication's. Not signed: development takes it, and keeps it as it keeps others."""
    now = int(time.time())
    claims = {"iss": f"https://securetoken.google.com/{PROJECT}", "aud": PROJECT, "sub": "alice", "user_id": "alice", "iat": now,
              "auth_time": now, "exp": now + 3600, "email": "alice@example.com", "email_verified": True, "name": "Alice",
              "firebase": {"identities": {"email": ["alice@example.com"]}, "sign_in_provider": "password"}, "padding": "x" * 350}

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


class Judged(systems.Skerry):
    """`matches` None: without rules."""

    def __init__(self, directory, name, matches):
        directory = os.path.join(directory, name.replace(" ", "-"))
        os.mkdir(directory)
        self.authorization = f"Bearer {token()}"
        arguments = []
        if matches is not None:
            file = os.path.join(directory, "firestore.rules")
            with open(file, "w") as f:
                f.write(rules(matches))
            arguments = ["--rules", file]
        super().__init__(directory, arguments)
        self.commit("users/alice", {"owner": "alice", "name": "Alice", "text": "x" * 100})
        self.commit("roles/alice", {"role": "admin"})

    def commit(self, path, fields):
        fields = {name: {"stringValue": value} for name, value in fields.items()}
        body = {"writes": [{"update": {"name": f"{DATABASE}/documents/{path}", "fields": fields}}]}
        request = urllib.request.Request(f"http://{self.target}/v1/{DATABASE}/documents:commit", json.dumps(body).encode(),
                                         {"Content-Type": "application/json", "Authorization": "Bearer owner"})
        urllib.request.urlopen(request, timeout=10).read()


    def check(self):
        """h2load takes any answer for a good one."""
        status = subprocess.run([self.program, "status", "--data", self.data], capture_output=True, text=True, check=True).stdout
        ok, failed = map(int, re.search(r"/GetDocument +(\d+) +(\d+)", status).groups())
        if failed > 1000 + ok / 100:  # what was under way at the end of a slice is cancelled
            raise RuntimeError(f"{failed} of {ok + failed} calls were refused:\n{status}")


KINDS = [("open", None), ("owner", OWNER_ONLY), ("field", OF_A_FIELD), ("role", BY_ROLE)]


def run(bench):
    directory = os.path.join(bench.directory, "rules")
    os.mkdir(directory)
    all_kinds = [(kind, Judged(directory, kind, matches)) for kind, matches in KINDS]
    name = f"{DATABASE}/documents/users/alice".encode()
    body = loads.grpc_frame(b"\n" + bytes([len(name)]) + name)
    for number in range(bench.plan.slices):
        bench.say(f"rules, slice {number + 1} of {bench.plan.slices}")
        for kind, system in all_kinds:
            bench.record(f"rules {kind}", loads.h2load(system, bench.directory, loads.GET_PATH, body, bench.plan.seconds))
    for kind, system in all_kinds:
        system.check()
        system.stop()


MEASURES = [
    ("rules open", "GetDocument without rules, the token not looked at (h2load)"),
    ("rules owner", "the same with a verified token, under a rule for the owner by the document's name"),
    ("rules field", "under a rule for the owner by a field of the document"),
    ("rules role", "under a rule that reads another document"),
]


def goals(results):
    return [
        ("GetDocument under an owner-only rule, against none", results.ratio("rules owner", "rules open"), 0.8, True, ""),
        ("GetDocument under a rule that reads a document, against none", results.ratio("rules role", "rules open"), 0.5, True, ""),
    ]
