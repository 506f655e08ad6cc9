// Package feed reads the change feed of the favorites on DynamoDB: what a record of the table's stream says. It is apart from
// package dynamo so that who only listens does not carry the tables' client.
package feed

import (
	"fmt"

	"github.com/flavorless/flavorless/events"
)

// Record is one record of the favorites' stream, with new and old images. Whatever delivers it, a Lambda event or the
// Streams API, hands over the text attributes (S) of the images; others don't matter here.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
type Record struct {
	Old, New Image // nil when there was no item, or is none any more
}

// Image is an item's text attributes, by name.
type Image map[string]string

// Change tells what a record changed, if it changed a flavor: writes that only move a version, tombstones and their
// expiry don't.
//
// When an item with a flavor is deleted, which only people do, the change has the version of what it removed: nothing
// newer has been said of the person.
//
// An error means that the item is none of ours: retrying is of no use. Errors are logged, so they name no person.
func (r Record) Change() (change events.Change, changed bool, err error) {
	image := r.New
	if image == nil {
		image = r.Old
	}
	person := image["person"]
	version, err := events.ParseVersion(image["version"])
	if err == nil && person == "" {
		err = fmt.Errorf("it has no person")
	}
	if err != nil {
		return events.Change{}, false, fmt.Errorf("reading a stream record: %w: %w", events.ErrPermanent, err)
	}
	change, changed = events.NewChange(person, r.Old["flavor"], r.New["flavor"], version)
	return change, changed, nil
}
