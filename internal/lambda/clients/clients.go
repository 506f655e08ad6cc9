// Package clients gives the functions their clients. It is apart from package shell so that a function that needs none
// does not carry the SDK.
package clients

import (
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
