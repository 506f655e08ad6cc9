// Package feed decodes records of the favorites table's DynamoDB stream as changes. It is separate from package dynamo
// so that a function which only reads the stream does not contain the table's client.
package feed

import (
	"errors"
	"fmt"

	"github.com/flavorless/flavorless/events"
)

// Record is a stream record with new and old images. The caller fills in the string attributes (S) of the images, from
// a Lambda event or from the Streams API; other attributes are not needed.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
type Record struct {
	Old, New Image // nil if the item did not exist before, or does not exist afterwards
}

// Image is the string attributes of an item, by name.
type Image map[string]string

// Change returns the change that a record represents, and whether it represents one: writes that only raise a version,
// and tombstones and their expiry, change no flavor.
//
// If an operator deletes an item with a flavor, the change has the version of the deleted item, because there is no
// newer one.
//
// An [events.ErrPermanent] means that the item does not belong to this program. The error contains no name, because it
// is logged.
func (r Record) Change() (change events.Change, changed bool, err error) {
	image := r.New
	if image == nil {
		image = r.Old
	}
	person := image["person"]
	version, err := events.ParseVersion(image["version"])
	if err == nil && person == "" {
		err = errors.New("the attribute person is empty")
	}
	if err != nil {
		return events.Change{}, false, fmt.Errorf("decoding a stream record: %w: %w", events.ErrPermanent, err)
	}
	change, changed = events.NewChange(person, r.Old["flavor"], r.New["flavor"], version)
	return change, changed, nil
}
