package local

import (
	"context"
	"fmt"
	"log/slog"
	"math"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/flavorless/flavorless/events"
)

// diskSpace protects the reserve of free space on the disk of the data folder; see [Limits.MinFree].
type diskSpace struct {
	dir     string
	read    func(dir string) (int64, error) // returns how many bytes are free
	reserve int64
}

func (d diskSpace) free() (int64, error) { return d.read(d.dir) }

// check returns events.ErrUnavailable if less than minFree would be free after storing the bytes. If the free space
// can't be read, it returns nil, and the write itself fails if the disk is full.
func (d diskSpace) check(bytes, minFree int64) error {
	free, err := d.free()
	if err != nil || minFree <= 0 || free-bytes >= minFree {
		return nil //nolint:nilerr // see above
	}
	return fmt.Errorf("%w: the disk of %s is nearly full: %s are free, and %s have to remain free",
		events.ErrUnavailable, d.dir, humanize.IBytes(uint64(max(free, 0))), humanize.IBytes(uint64(minFree)))
}

// warn logs a warning if so little space is free that uploads are rejected.
func (d diskSpace) warn(ctx context.Context, log *slog.Logger) {
	if err := d.check(0, d.reserve); err != nil {
		log.WarnContext(ctx, "no uploads are accepted; free disk space, or start with a lower --min-free",
			"event", "disk_full", "error", err)
	}
}

func (d diskSpace) checkIngest() error  { return d.check(0, d.reserve/2) }
func (d diskSpace) checkPublish() error { return d.check(0, d.reserve/4) }

// checkStore is for new objects. Reports may use as much as the stages that process accepted uploads.
func (d diskSpace) checkStore(bucket string, bytes int64) error {
	if bucket == reportsBucket {
		return d.check(bytes, d.reserve/4)
	}
	return d.check(bytes, d.reserve)
}

// maxSorting is the maximum size of the temporary files of one upload, in bytes.
const maxSorting = 64 << 30

// forSorting returns how many bytes may be used for sorting an upload: a third of what is free beyond the reserve,
// because ingestFiles uploads are sorted at the same time and each is then stored as a sorted copy.
func (d diskSpace) forSorting() int64 {
	free, err := d.free()
	if err != nil {
		return maxSorting // writing fails if the disk is full
	}
	return min(max(free-d.reserve, 0)/3, maxSorting)
}

func freeDisk(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	free := int64(st.Bavail) * int64(st.Bsize)           //nolint:unconvert // other types on macOS
	return usable(free, st.Files, uint64(st.Ffree)), nil //nolint:unconvert // other types on macOS
}

// bytesPerInode is what a free inode counts as: without inodes no file can be created, however many bytes are free.
// With it the default reserve of 256 MiB contains at least 4,096 inodes.
const bytesPerInode = 64 << 10

// usable returns how many bytes can be stored on a disk, given its free bytes and its inodes.
func usable(freeBytes int64, inodes, freeInodes uint64) int64 {
	if inodes == 0 { // the file system has no fixed number of them
		return freeBytes
	}
	return min(freeBytes, int64(min(freeInodes, math.MaxInt64/bytesPerInode))*bytesPerInode)
}
