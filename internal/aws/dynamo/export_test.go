package dynamo

// The encoding of records, for fuzz tests.
var (
	DecodeUpload  = decodeUpload
	EncodeFailure = encodeFailure
	PackRejects   = packRejects
	UnpackRejects = unpackRejects
)
