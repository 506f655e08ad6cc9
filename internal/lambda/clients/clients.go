// Package clients gives the functions their clients. It is apart from package shell so that a function that needs none
// does not carry the SDK.
package clients

import (
	"time"

	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/config"
)

// For gives access to the services as the environment says.
func For(account config.AWS) aws.Access {
	return aws.Access{
		Region: account.Region, KeyID: account.KeyID, Secret: account.Secret.Reveal(), Token: account.Token.Reveal(),
		Endpoint: account.Endpoint,
	}
}

// ReaderTimeout is how long a service may take to begin its answer to a reader, whose client waits for it. A reader has ten
// seconds, so that there is time for another try.
const ReaderTimeout = 2 * time.Second

// ForReader gives a function behind the API access to the services.
func ForReader(account config.AWS) aws.Access {
	access := For(account)
	access.ResponseTimeout = ReaderTimeout
	return access
}
