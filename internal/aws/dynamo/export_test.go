package dynamo

// What the ledger stores and reads back, for fuzzing.
var (
	DecodeUpload  = decodeUpload
	EncodeFailure = encodeFailure
	PackRejects   = packRejects
	UnpackRejects = unpackRejects
)
