// Package clients configures the functions' access to AWS services. It is separate from package bootstrap so that the
// authorizer, which calls none, does not link the SDK.
package clients

import (
	"time"

	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/config"
)

// Access returns access to the services with the credentials and endpoints of account.
func Access(account config.AWS) aws.Access {
	return aws.Access{
		Region: account.Region, KeyID: account.KeyID, Secret: account.Secret.Reveal(), Token: account.Token.Reveal(),
		Endpoint: account.Endpoint,
	}
}

// ReaderTimeout is how long a function of the read API waits until a service begins its response. The function has ten
// seconds and a client that waits, so there must be time for a retry.
const ReaderTimeout = 2 * time.Second

// ReaderAccess is like Access, with ReaderTimeout.
func ReaderAccess(account config.AWS) aws.Access {
	access := Access(account)
	access.ResponseTimeout = ReaderTimeout
	return access
}
