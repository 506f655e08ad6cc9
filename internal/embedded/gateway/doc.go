// Package gateway is the bucket of the one-machine deployment: an S3 endpoint over plain files, in this process.
//
// The protocol, signatures included, is versitygw's (its s3api server on its posix backend). What this package adds is
// the promise that makes a bucket the head of a pipeline: an upload that was answered with 200 has been announced.
// versitygw's own notifications are sent after the fact and cannot fail a request, so they are not used. Instead the
// backend is wrapped: every way to create an object (PUT, form POST, multipart, copy) ends in Config.Stored, before the
// request is answered. If Stored fails, the client sees a 503 and tries again.
//
// # What identifies an object
//
// An announcement and a later look at the disk have to agree, or an upload would be ingested twice under two ids. So
// everything in an [events.Object] can be read back from the stored file alone: Time is its modification time in
// milliseconds, Sequencer the same in nanoseconds as 16 hexadecimal digits, ETag and Size what is stored. The
// modification time is set on the staged file, before it is moved to its name: no reader ever sees another one. It
// never repeats nor goes back, whatever the clock does and also across restarts (see clock).
//
// Writers of one key take turns from that moment until the file has its name, so the order of the sequencers is the
// order in which the contents replaced one another. Two uploads racing on one key are both announced, each under the
// identity and ETag of its own bytes; whose bytes are gone already is found gone by whoever reads them (If-Match).
//
// # After a crash
//
// Between the moment a file gets its name and the end of Stored, a crash leaves an object that nobody was told about
// (nor was its uploader told that it succeeded). [Gateway.Objects] lists what is stored under the very identities that
// were or would have been announced; the caller announces again what it does not know.
//
// # Limits
//
// Nobody can make the gateway take more than it has. A disk that is nearly full (Config.Room) refuses what would fill it,
// before anything is stored and while it comes; what fails half-way leaves nothing. Sizes, connections, requests under way
// and the time that a client may take are bounded (Config, conn in listener.go); memory is, too, because only objects may be
// long, and those are streamed.
//
// # Names and permissions
//
// Uploaders are not trusted. Requests may do what operations.go lists, and nothing else. Every name in a request is
// checked in names.go before versitygw's backend makes a path of it, and the path is resolved in an [os.Root] besides. There
// are two credentials: uploaders have one, which may only read the buckets in Config.ReadOnly, and the server has another
// one of its own (Gateway.Server). docs/adr/0018 says why.
//
// What S3 takes and versitygw reads otherwise is translated before or after it: headers in a presigned query (hoisted.go),
// bodies in chunks (chunks.go), forms (forms.go) and encoded lists (encoding.go). docs/adr/0005 has the list.
//
// A key that can't be stored and listed exactly as it is, is refused with 400. Keys that end in a slash are folders here:
// they can be stored and deleted, but are not announced, for the time of a directory changes with what it holds. A key
// names a path, so there can't be both an object "a" and an object "a/b": the second one is refused with 409 (place.go).
// On a file system that ignores case, keys that differ only in case are the same file. Bucket versioning is not offered. One
// process at a time may use a directory.
package gateway
