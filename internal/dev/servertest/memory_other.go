//go:build !linux

package servertest

// memoryFolder returns an empty path: only Linux has a folder in memory everywhere.
func memoryFolder() string { return "" }
