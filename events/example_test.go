package events_test

import (
	"fmt"

	"github.com/flavorless/flavorless/events"
)

// A subscriber keeps the newest change of each person. It may receive changes repeatedly and in any order.
func ExampleDecodeChange() {
	const created = `{"specversion":"1.0","type":"flavorless.change.v1","data":{"kind":"created","person":"andy",` +
		`"flavor":"vanilla","previous":null,` +
		`"version":"01a2077ca99b-0055aed6dcd90281e500000000000000-814yn63t3gfyg33an494e4jsgc-00000000000e"}}`
	const changed = `{"specversion":"1.0","type":"flavorless.change.v1","data":{"kind":"changed","person":"andy",` +
		`"flavor":"pistachio","previous":"vanilla",` +
		`"version":"01a2077ca99b-0055aed6dcd90281e500000000000000-814yn63t3gfyg33an494e4jsgc-000000000020"}}`

	newest := map[string]events.Change{}
	for _, body := range []string{changed, created, changed} {
		c, err := events.DecodeChange([]byte(body))
		if err != nil {
			fmt.Println(err) // the message is invalid; receiving it again would not help
			continue
		}
		if newest[c.Person].Version < c.Version {
			newest[c.Person] = c
			fmt.Printf("%s: %s %q\n", c.Person, c.Kind, c.Flavor)
		}
	}
	fmt.Println(len(newest), "person likes", newest["andy"].Flavor)
	// Output:
	// andy: changed "pistachio"
	// 1 person likes pistachio
}
