package topics

// Sendable refuses what SNS would refuse or drop.
var Sendable = sendable
