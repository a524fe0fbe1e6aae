// iOS. Podfile: pod 'MediaPipeTasksVision'. Add @FILE@ to the app's bundle.
// These lines were not run by edgevit.
import MediaPipeTasksVision
import UIKit

final class EdgeModel {
    private let task: @PICTURE_TASK@

    init() throws {
        let options = @PICTURE_TASK@Options()
        options.baseOptions.modelAssetPath =
            Bundle.main.path(forResource: "@STEM@", ofType: "tflite")!
@SWIFT_OPTIONS@        task = try @PICTURE_TASK@(options: options)
    }

    /// A picture of any size.
    func run(_ picture: UIImage) throws -> @PICTURE_TASK@Result {
        try task.@VERB@(image: MPImage(uiImage: picture))
    }
}
