package local

import (
	"cmp"
	"io"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// result reads the final state, and checks that the changes lead to it.
func (p *faultyPipeline) result() result {
	p.t.Helper()
	ctx := p.t.Context()
	r := result{Team: map[string]string{}, Uploads: map[string]outcome{}}
	team, err := p.db.Team(ctx, "", 1<<20)
	if err != nil {
		p.t.Fatal(err)
	}
	flavors := map[string]string{}
	for _, f := range team {
		flavors[f.Person] = f.Flavor
		if r.Team[f.Person] = f.Flavor; !p.sorting { // otherwise an unchanged row can have an older version
			r.Team[f.Person] += " at " + string(f.Version)
		}
	}
	for _, o := range p.bucket.objects {
		u, err := p.db.Upload(ctx, o.UploadID())
		if err != nil {
			p.t.Fatal(err)
		}
		out := outcome{Status: u.Status, Failure: u.Failure, Counts: u.Counts, Rejects: u.Rejects}
		if c := u.Counts; c.Outcomes() != c.Rows || c.Batches != c.BatchesApplied {
			p.t.Errorf("the counts of %s do not add up: %+v", o.Key, c)
		}
		out.Counts.Applied += u.Counts.Superseded + u.Counts.Unchanged
		out.Counts.Superseded, out.Counts.Unchanged = 0, 0
		if u.RejectsAt != "" {
			body, err := p.reports.Get(ctx, u.ID+"/rejects.ndjson")
			if err != nil {
				p.t.Fatal(err)
			}
			report, err := io.ReadAll(body)
			if err != nil {
				p.t.Fatal(err)
			}
			_ = body.Close()
			out.Report = string(report)
		}
		parts, err := p.reports.Client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
			Bucket: &p.reports.Bucket, Prefix: aws.String(u.ID + "/rejects/"),
		})
		if err != nil {
			p.t.Fatal(err)
		}
		if n := len(parts.Contents); n > 0 {
			p.t.Errorf("%d parts of the report of %s are left, want 0", n, o.Key)
		}
		r.Uploads[o.Key] = out
	}
	if diff := gocmp.Diff(flavors, p.replayed()); diff != "" {
		p.t.Errorf("the changes do not lead to the table (-table +changes):\n%s", diff)
	}
	return r
}

// replayed applies the published changes in the order of their versions, and checks that each one changes a flavor.
func (p *faultyPipeline) replayed() map[string]string {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	flavors := map[string]string{}
	changes := slices.SortedFunc(slices.Values(p.published), func(a, b events.Change) int {
		return cmp.Compare(a.Version, b.Version)
	})
	for _, c := range slices.Compact(changes) { // they may be published twice
		if flavors[c.Person] != c.Previous || c.Flavor == c.Previous {
			p.t.Fatalf("%s had %q before the change %+v, want the previous flavor of the change and a new one",
				c.Person, flavors[c.Person], c)
		}
		flavors[c.Person] = c.Flavor
	}
	maps.DeleteFunc(flavors, func(_, flavor string) bool { return flavor == "" })
	return flavors
}
