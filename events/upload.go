package events

import "time"

// Status tells how far an upload is.
type Status string

// An upload goes from publishing to applying to live. One whose file can't be read to its end becomes failed instead,
// once all that was published before the break has been applied, so that the counts of a settled upload are final.
const (
	Publishing Status = "publishing" // the file is being read
	Applying   Status = "applying"   // read to its end; batches are on their way to the table
	Live       Status = "live"       // every row has its outcome, and readers see it
	Failed     Status = "failed"     // see Upload.Failure
)

// Settled tells whether the status is final.
func (s Status) Settled() bool { return s == Live || s == Failed }

// Upload is the ledger's record of one upload, and the report that its uploader reads.
type Upload struct {
	ID        string    `json:"id"`
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`
	VersionID string    `json:"versionId,omitempty"`
	ETag      string    `json:"etag"`
	Size      int64     `json:"size"` // bytes, as stored
	Status    Status    `json:"status"`
	Failure   *Failure  `json:"failure,omitempty"` // why the file could not be read to its end; final with status failed
	Format    string    `json:"format,omitempty"`  // such as "csv" or "ndjson+gzip"
	Counts    Counts    `json:"counts"`
	Rejects   []Reject  `json:"rejects"`             // the first MaxRejects; always there, [] without any
	RejectsAt string    `json:"rejectsAt,omitempty"` // s3://… of the report of rejects, one JSON object a line; see ReportEnd
	Uploaded  time.Time `json:"uploaded"`            // when the object was stored
	Started   time.Time `json:"started"`             // when ingest first saw it
	Published time.Time `json:"published,omitzero"`  // when it was read to its end
	Settled   time.Time `json:"settled,omitzero"`    // when it became live or failed
}

// MaxRejects is how many rejected rows the ledger itself keeps. The reports bucket has all, up to the maximum length of a
// report; see ReportEnd.
const MaxRejects = 100

// Counts of rows and batches. For a settled upload Applied + Superseded + Rejected = Rows, always.
type Counts struct {
	Rows           int64 `json:"rows"`           // read from the file; 0 until it was read to its end
	Applied        int64 `json:"applied"`        // written to the table
	Superseded     int64 `json:"superseded"`     // something newer was there
	Rejected       int64 `json:"rejected"`       // not acceptable; 0 until the file was read to its end
	Batches        int64 `json:"batches"`        // published; 0 until the file was read to its end
	BatchesApplied int64 `json:"batchesApplied"` // of these, how many have their outcome
}

// ReadSummary is what ingest found out by reading a file to its end, or to the break.
type ReadSummary struct {
	Format    string
	Rows      int64 // rows read: those in batches and those rejected
	Rejected  int64
	Batches   int64
	Rejects   []Reject // the first MaxRejects
	RejectsAt string   // empty when nothing was rejected
	Failure   *Failure // nil when the file was read to its end
	At        time.Time
}
