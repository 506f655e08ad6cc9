package test

import (
	"context"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// tableModel is the rule of the table and nothing else: of the new batches of a group, the newest row of each person is
// stored if it is newer than the stored one.
type tableModel struct {
	favorites map[string]favorite
	counts    map[string]*events.Counts // by upload id
	seen      map[string]bool           // by batch id
}

func newTableModel() tableModel {
	return tableModel{map[string]favorite{}, map[string]*events.Counts{}, map[string]bool{}}
}

// apply applies a group of batches.
func (m tableModel) apply(bodies [][]byte) error {
	type versioned struct {
		events.Update
		version events.Version
	}
	var rows []versioned
	newest := map[string]events.Version{}
	for _, body := range bodies {
		b, err := events.DecodeBatch(body)
		if err != nil {
			return err
		}
		if m.seen[b.ID()] {
			continue
		}
		m.seen[b.ID()] = true
		m.of(b.UploadID()).BatchesApplied++
		for _, r := range b.Rows {
			v := b.Origin.At(r.Offset)
			rows = append(rows, versioned{r, v})
			newest[r.Person] = max(newest[r.Person], v)
		}
	}
	for _, r := range rows {
		c := m.of(r.version.UploadID())
		if r.version != newest[r.Person] || m.favorites[r.Person].version >= r.version {
			c.Superseded++
			continue
		}
		c.Applied++
		m.favorites[r.Person] = favorite{r.version, r.Flavor}
	}
	return nil
}

// of returns the counts of an upload.
func (m tableModel) of(upload string) *events.Counts {
	if m.counts[upload] == nil {
		m.counts[upload] = &events.Counts{}
	}
	return m.counts[upload]
}

// check compares the table, the ledger, the reports and the changes with the files and the model.
func (s *simulation) check() {
	ctx := context.Background()
	team, err := s.db.Team(ctx, "", 1000)
	s.must(err)
	table := checkTable(s, s.objects, team, s.sorting.From > 0)
	for key, u := range s.objects {
		got, err := s.db.Upload(ctx, u.object.UploadID())
		s.must(err)
		checkUpload(s, u, got, s.reports[got.ID+"/rejects.ndjson"])
		for part := range s.reports {
			if strings.HasPrefix(part, got.ID+"/rejects/") {
				s.Errorf("%s was not removed although %s is settled", part, key)
			}
		}
		want, rejected := *s.model.of(got.ID), int64(len(u.rejected))
		want.Rows, want.Rejected, want.Batches = int64(len(u.accepted))+rejected, rejected, want.BatchesApplied
		if s.reports[ingest.CopyKey(got.ID)] != nil {
			want.Superseded += int64(len(u.accepted) - persons(u.accepted))
		}
		if s.sorting.From > 0 { // whether a row is applied or not then depends on what was announced, which is not modeled
			for _, c := range []*events.Counts{&want, &got.Counts} {
				c.Superseded, c.Applied, c.Unchanged = c.Superseded+c.Applied+c.Unchanged, 0, 0
			}
		}
		if diff := gocmp.Diff(want, got.Counts); diff != "" {
			s.Fatalf("counts of %s (-want +got):\n%s", key, diff)
		}
	}
	checkChanges(s, s.received, table)
}

// persons returns the number of different persons in rows.
func persons(rows []events.Update) int {
	names := map[string]bool{}
	for _, r := range rows {
		names[r.Person] = true
	}
	return len(names)
}
