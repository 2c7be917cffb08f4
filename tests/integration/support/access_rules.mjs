// Rules of the kind apps use, for a server in production.
export const RULES = `rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    function me() { return request.auth.uid; }
    function member(room) { return get(/databases/$(database)/documents/rooms/$(room)/members/$(me())).data; }

    // Everybody reads, nobody writes.
    match /public/{id} { allow read; }
    // One may look for it; it is read if it says so.
    match /maybe/{id} { allow get: if resource == null || resource.data.open == true; }
    // Owner only.
    match /notes/{id} {
      allow read, delete: if resource.data.owner == me();
      allow create: if request.resource.data.owner == me();
      allow update: if resource.data.owner == me() && request.resource.data.owner == me();
    }
    // Posts: anybody reads what is published, the author everything.
    match /posts/{id} {
      allow read: if resource.data.published == true || resource.data.author == me();
      allow write: if request.auth != null && request.auth.token.editor == true;
    }
    // Roles in documents.
    match /rooms/{room} {
      allow get: if member(room).role in ['reader', 'writer'];
      match /members/{uid} { allow read: if uid == me(); }
      match /messages/{id} {
        allow read: if member(room).role in ['reader', 'writer'];
        allow create: if member(room).role == 'writer' && request.resource.data.at == request.time;
      }
    }
    // What a user has, by its path; and a collection group of it.
    match /users/{uid}/{document=**} { allow read, write: if uid == me(); }
    // Looked for without being signed in, by a collection group that says whose.
    match /{path=**}/orders/{id} { allow read: if resource.data.buyer == me(); }
    // A transfer is two writes that belong together.
    match /accounts/{id} {
      allow read: if request.auth != null;
      allow update: if getAfter(/databases/$(database)/documents/accounts/a).data.n + getAfter(/databases/$(database)/documents/accounts/b).data.n == 100;
    }
    match /pairs/{id} {
      allow create: if existsAfter(/databases/$(database)/documents/halves/$(id)) && !exists(/databases/$(database)/documents/halves/$(id));
    }
    match /halves/{id} { allow create: if true; }
    // A counter that goes up by one.
    match /counters/{id} {
      allow read;
      allow update: if request.resource.data.n == resource.data.n + 1;
    }
    // Written by anybody, read by nobody.
    match /box/{id} { allow create, update: if true; }
    match /paged/{id} { allow list: if request.query.limit <= 10; }
  }
}
`;
