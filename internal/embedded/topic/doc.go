// Package topic publishes messages to the streams of the embedded broker, and reads the log of changes. It is to the
// broker what SNS is in the cloud.
//
// A [Topic] publishes to one stream. A [Log] is the topic CHANGES together with its followers: readers over HTTP, which
// need no consumers. Those that keep up are served from memory; the others fetch from the stream.
package topic
