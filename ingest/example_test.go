package ingest_test

import (
	"fmt"
	"strings"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// Read calls a function for each row. The file name determines the format.
func ExampleRead() {
	file := strings.NewReader("person,flavor\nandy,cookie dough\n,vanilla\nbill,rocky road\n")
	accept := func(u events.Update) error {
		fmt.Printf("%s likes %s\n", u.Person, u.Flavor)
		return nil
	}
	reject := func(r *events.Reject) error {
		fmt.Printf("line %d, column %d: %s: %s\n", r.Line, r.Column, r.Code, r.Reason)
		return nil
	}
	summary, err := ingest.Read(file, "favorites.csv", ingest.Options{}, accept, reject)
	if err != nil {
		fmt.Println(err) // reading the file failed; it may succeed later
		return
	}
	if summary.Failure != nil {
		fmt.Println(summary.Failure.Reason) // the rest of the file can't be read
	}
	fmt.Println(summary.Rows, "rows,", summary.Rejected, "rejected")
	// Output:
	// andy likes cookie dough
	// line 3, column 1: missing_person: person is empty; write 1 to 256 bytes of text
	// bill likes rocky road
	// 3 rows, 1 rejected
}
