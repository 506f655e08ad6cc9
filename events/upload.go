package events

import "time"

// Status is the progress of an upload.
type Status string

// An upload goes from publishing to applying to live. If its file can't be read to the end, it becomes failed instead,
// but only after all published batches have been applied: the counts of a settled upload are final.
const (
	Publishing Status = "publishing" // the file is being read
	Applying   Status = "applying"   // the file was read; batches are being applied
	Live       Status = "live"       // every row has its outcome, and readers see the result
	Failed     Status = "failed"     // see Upload.Failure
)

// Settled reports whether the status is final.
func (s Status) Settled() bool { return s == Live || s == Failed }

// Upload is the ledger's record of an upload. Uploaders read it as the report of their file.
type Upload struct {
	ID        string    `json:"id"`
	Bucket    string    `json:"bucket"`
	Key       string    `json:"key"`
	VersionID string    `json:"versionId,omitempty"`
	ETag      string    `json:"etag"`
	Size      int64     `json:"size"` // stored bytes
	Status    Status    `json:"status"`
	Failure   *Failure  `json:"failure,omitempty"` // why the file was not read to its end; the status becomes failed
	Format    string    `json:"format,omitempty"`  // such as "csv" or "ndjson+gzip"
	Counts    Counts    `json:"counts"`
	Rejects   []Reject  `json:"rejects"`             // the first MaxRejects rejected rows; [] if there are none
	RejectsAt string    `json:"rejectsAt,omitempty"` // s3://… URL of the report: a Reject per line; see ReportEnd
	Uploaded  time.Time `json:"uploaded"`            // when the object was stored
	Started   time.Time `json:"started"`             // when ingest received the event
	Published time.Time `json:"published,omitzero"`  // when the file had been read
	Settled   time.Time `json:"settled,omitzero"`    // when the upload became live or failed

	// Sorted means that ingest decided to sort the file when it created the record. Every delivery of the upload's event
	// follows this decision, so that they cut the same batches. It is false in records of earlier releases.
	Sorted bool `json:"-"`
}

// MaxRejects is the maximum number of rejected rows in an [Upload]. The report in the reports bucket has the others.
const MaxRejects = 100

// Counts are the numbers of rows and batches. Each row has one outcome: Applied, Unchanged, Superseded or Rejected.
type Counts struct {
	Rows           int64 `json:"rows"`           // rows of the file; 0 while it is being read
	Applied        int64 `json:"applied"`        // rows written to the table
	Unchanged      int64 `json:"unchanged"`      // rows with the flavor that the person already had; not written
	Superseded     int64 `json:"superseded"`     // rows older than the stored ones, or than later rows of the file
	Rejected       int64 `json:"rejected"`       // rejected rows; 0 while the file is being read
	Batches        int64 `json:"batches"`        // published batches; 0 while the file is being read
	BatchesApplied int64 `json:"batchesApplied"` // batches that have been applied
}

// Outcomes returns the number of rows that have an outcome. Of a settled upload, it is Rows.
func (c Counts) Outcomes() int64 { return c.Applied + c.Unchanged + c.Superseded + c.Rejected }

// ReadSummary is the result of reading a file to its end or to a failure.
type ReadSummary struct {
	Format     string
	Rows       int64 // rows in batches, superseded rows and rejected rows
	Superseded int64 // rows that are in no batch, because a later row of the file names the same person
	Rejected   int64
	Batches    int64
	Rejects    []Reject // the first MaxRejects rejected rows
	RejectsAt  string   // URL of the report; empty if no row was rejected
	Failure    *Failure // nil if the file was read to its end
	At         time.Time
}
