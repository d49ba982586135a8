/* Feeds every file of the directories given as arguments to a fuzz target, so that a corpus is replayed by any
 * compiler, without libFuzzer. It fails when a file cannot be read and when there was none at all. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input gets a block of exactly its size: a read past its end is then seen by AddressSanitizer. */
static bool replay_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    bool read = file && data && fread(data, 1, size, file) == size;

    if (read)
        LLVMFuzzerTestOneInput(data, size);
    else
        perror(path);
    free(data);
    if (file)
        fclose(file);
    return read;
}

/* The number of files replayed, or -1. */
static int replay_directory(const char *directory)
{
    DIR *entries = opendir(directory);
    int count = 0;

    if (!entries) {
        perror(directory);
        return -1;
    }
    for (struct dirent *entry; count >= 0 && (entry = readdir(entries));) {
        char path[4096];
        struct stat about;

        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        if (stat(path, &about) != 0 || !S_ISREG(about.st_mode))
            continue;
        count = replay_file(path, (size_t)about.st_size) ? count + 1 : -1;
    }
    closedir(entries);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;

    for (int i = 1; i < argc; i++) {
        int count = replay_directory(argv[i]);
        if (count < 0)
            return EXIT_FAILURE;
        total += count;
    }
    printf("%d inputs replayed\n", total);
    return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
