package temporalclient

// Answered is answered.
var Answered = answered
