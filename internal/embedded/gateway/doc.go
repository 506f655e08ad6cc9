// Package gateway is the bucket of the one-machine deployment: an S3 endpoint over plain files, in this process.
//
// versitygw provides the protocol and the storage: its s3api server on its posix backend. This package adds one
// promise: an upload that was answered with 200 has been announced. versitygw sends its own notifications after the
// upload and can't fail the request, so they are not used. Instead, this package wraps the backend. Every way to create
// an object (PUT, form POST, multipart, copy) calls Config.OnStored before the request is answered. If OnStored fails,
// the client gets a 503 and retries.
//
// # Identity of an object
//
// An announcement and a later scan of the disk must agree; otherwise an upload would be ingested twice under two IDs.
// So everything in an [events.Object] can be read from the stored file alone: Time is the file's modification time in
// milliseconds, Sequencer is the same time in nanoseconds as 16 hexadecimal digits, and ETag and Size are those of the
// file. The modification time is set on the staged file, before it is moved to its name, so no reader ever sees another
// one. Modification times never repeat and never go back, across restarts and clock changes (see clock).
//
// Writers of the same key take turns from that moment until the file has its name. So the order of the sequencers is
// the order in which the contents replaced one another. If two uploads race on one key, both are announced, each with
// the ETag of its own bytes. A reader that asks for replaced bytes with If-Match learns that they are gone.
//
// # After a crash
//
// A crash between naming a file and the end of OnStored leaves an object that was not announced; its uploader got no
// answer either. [Gateway.Objects] lists the stored objects with the identities they were or would have been announced
// under, and the caller announces those that it does not know.
//
// # Limits
//
// Clients can't exhaust the server. Uploads are refused before and while they are received if the disk is nearly full
// (Config.CheckSpace), and a failed upload leaves nothing behind. Object sizes, connections, concurrent requests and
// the time that a client may take are limited (see Config, and conn in conn.go). Memory is bounded because only
// objects may be long, and objects are streamed.
//
// # Names and permissions
//
// Uploaders are not trusted; docs/adr/0018 gives the reasons. operations.go lists the requests that are allowed, and
// all others are refused. names.go checks every name in a request before versitygw's backend makes a path of it; as a
// second line of defense, the path is also resolved in an [os.Root]. There are two credentials: one for uploaders,
// which may only read the buckets in Config.ReadOnly, and one for the server itself ([Gateway.ServerCredential]).
//
// versitygw reads some requests differently from S3. They are translated before or after versitygw sees them: headers
// in a presigned query (hoisted.go), chunked bodies (chunks.go), forms (forms.go) and encoded lists (encoding.go).
// docs/adr/0005 has the list.
//
// A key that can't be stored and listed exactly as it is gets 400. A key that ends in a slash is a folder: it can be
// stored and deleted, but it is not announced, because a directory's time changes with its contents. A key is a path,
// so an object "a" and an object "a/b" can't both exist: the second one gets 409 (conflicts.go). On a file system that
// ignores case, keys that differ only in case are the same file. There is no versioning. Only one process at a time may
// use a directory.
package gateway
